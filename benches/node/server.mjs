// What teams run today instead of Roster: verify, query, answer, in one file. No framework, prepared statements, the
// same lists and the same durability.
// usage: node server.mjs FILE PORT PROCESSES, with CLERK_JWT_KEY, CLERK_AUTHORIZED_PARTIES and
// CLERK_WEBHOOK_SIGNING_SECRET set
import cluster from "node:cluster";
import { createServer } from "node:http";
import { verifyToken } from "@clerk/backend";
import { Webhook } from "svix";
import { open } from "./database.mjs";

const [file, port, processes] = process.argv.slice(2);

if (cluster.isPrimary && Number(processes) > 1) {
  for (let count = 0; count < Number(processes); count += 1) cluster.fork();
} else {
  serve();
}

function serve() {
  const db = open(file);
  const jwtKey = process.env.CLERK_JWT_KEY;
  const authorizedParties = process.env.CLERK_AUTHORIZED_PARTIES.split(",");
  const webhook = new Webhook(process.env.CLERK_WEBHOOK_SIGNING_SECRET);

  const columns = `u.id, u.first_name, u.last_name, u.email, u.image_url, u.has_image, u.created_at, u.updated_at
    FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.organization_id = ?`;
  const order = "ORDER BY m.user_created_at, m.user_id";
  const all = db.prepare(`SELECT ${columns} ${order}`);
  const page = db.prepare(`SELECT ${columns} AND (m.user_created_at, m.user_id) > (?, ?) ${order} LIMIT ?`);

  const journal = db.prepare("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)");
  const user = db.prepare(`INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET first_name = excluded.first_name, last_name = excluded.last_name,
      username = excluded.username, email = excluded.email, image_url = excluded.image_url,
      has_image = excluded.has_image, public_metadata = excluded.public_metadata, updated_at = excluded.updated_at
    WHERE excluded.updated_at >= updated_at`);
  const membership = db.prepare(`INSERT INTO memberships VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at
    WHERE excluded.updated_at >= updated_at`);
  const apply = db.transaction((messageId, event, body) => {
    if (journal.run(messageId, event.type, Date.now(), body).changes === 0) return "duplicate";
    const data = event.data;
    if (event.type === "user.created" || event.type === "user.updated") {
      const email = data.email_addresses.find((address) => address.id === data.primary_email_address_id);
      user.run(data.id, data.first_name, data.last_name, data.username, email?.email_address ?? null,
        data.image_url, data.has_image ? 1 : 0, JSON.stringify(data.public_metadata), data.created_at,
        data.updated_at);
    } else if (event.type.startsWith("organizationMembership.")) {
      membership.run(data.id, data.organization.id, data.public_user_data.user_id, data.role,
        data.created_at, data.created_at, data.updated_at);
    }
    return "applied";
  });

  const send = (response, status, text) => {
    response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    response.end(text);
  };

  async function list(request, response, url) {
    let claims;
    try {
      const token = request.headers.authorization.slice("Bearer ".length);
      claims = await verifyToken(token, { jwtKey, authorizedParties });
    } catch {
      return send(response, 401, '{"error":"unauthorized"}');
    }
    const organization = claims.o.id;
    const limit = url.searchParams.get("limit");
    const [createdAt, id] = (url.searchParams.get("after") ?? "-1,").split(",");
    const rows = limit ? page.all(organization, Number(createdAt), id, Number(limit)) : all.all(organization);
    const people = rows.map((row) => ({
      id: row.id,
      firstName: row.first_name,
      lastName: row.last_name,
      email: row.email,
      profilePictureUrl: row.has_image ? row.image_url : null,
      createdAt: new Date(row.created_at).toISOString(),
      updatedAt: new Date(row.updated_at).toISOString(),
      clerkId: row.id,
      clerkOrgId: organization,
    }));
    send(response, 200, JSON.stringify(people));
  }

  function receive(request, response) {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const body = Buffer.concat(pieces).toString();
      let event;
      try {
        webhook.verify(body, request.headers);
        event = JSON.parse(body);
      } catch {
        return send(response, 401, '{"error":"unauthorized"}');
      }
      try {
        send(response, 200, JSON.stringify({ outcome: apply.immediate(request.headers["svix-id"], event, body) }));
      } catch (error) {
        console.error(error.message);
        send(response, 503, '{"error":"unavailable"}');
      }
    });
  }

  createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (request.method === "GET" && url.pathname === "/api/v1/entities/users") return list(request, response, url);
    if (request.method === "POST" && url.pathname === "/webhooks/clerk") return receive(request, response);
    if (url.pathname === "/readyz") return send(response, 200, '{"status":"ready"}');
    send(response, 404, '{"error":"not found"}');
  }).listen(Number(port), "127.0.0.1");
}
