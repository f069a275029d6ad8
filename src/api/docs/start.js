// Light or dark as the reader's system is.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

SwaggerUIBundle({
  dom_id: "#api",
  url: "/openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // A token that was typed in is gone with the page.
  persistAuthorization: false,
  // The badge of a validator on another host.
  validatorUrl: null,
});
