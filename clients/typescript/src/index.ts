import createClient, { type Client } from "openapi-fetch";

import { etags } from "./etags.js";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";
export { etags } from "./etags.js";
export { followMembers, FollowError, type Change, type FollowOptions } from "./changes.js";

export type User = components["schemas"]["User"];
export type AdminUser = components["schemas"]["AdminUser"];
export type Problem = components["schemas"]["Problem"];

export interface RosterOptions {
  /** Where Roster is, such as `https://roster.example.com`. */
  baseUrl: string;
  /** Clerk's `getToken`; asked before each request. Without it the `__session` cookie has to do. */
  getToken?: () => Promise<string | null>;
  /** Instead of the global one. */
  fetch?: (request: Request) => Promise<Response>;
}

/** A typed client: `roster.GET("/api/v1/entities/users")`. */
export function createRoster({ baseUrl, getToken, fetch }: RosterOptions): Client<paths> {
  const client = createClient<paths>({
    baseUrl,
    ...(fetch && { fetch }),
    // As Roster reads them: `ids=a,b`, and `metadata.team=core` from `{ metadata: { "metadata.team": "core" } }`.
    querySerializer: { array: { style: "form", explode: false }, object: { style: "form", explode: true } },
  });
  client.use({
    async onRequest({ request }) {
      const token = await getToken?.();
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });
  client.use(etags());
  return client;
}

/** The cursor of the next page, from the `Link` header of an answer; `undefined` on the last one. */
export function nextCursor(response: Response): string | undefined {
  const target = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
  return (target && new URL(target, "http://roster").searchParams.get("cursor")) || undefined;
}
