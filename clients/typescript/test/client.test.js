// Against a running service: `.ci/api` starts `roster dev` and says where it is and whose tokens are good.

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createRoster, followMembers, FollowError, nextCursor } from "../dist/index.js";

const baseUrl = process.env.ROSTER_URL;
const admin = process.env.ROSTER_ADMIN_TOKEN;
const member = process.env.ROSTER_MEMBER_TOKEN;
assert.ok(baseUrl && admin && member, "run .ci/api");

/** A client whose requests and answers are seen as they are on the wire. */
function watched(token) {
  const wire = [];
  const roster = createRoster({
    baseUrl,
    getToken: async () => token.now,
    fetch: async (request) => {
      const response = await fetch(request);
      wire.push({ sent: request.headers.get("If-None-Match"), status: response.status });
      return response;
    },
  });
  return { roster, wire };
}

test("what did not change is not sent again", async () => {
  const { roster, wire } = watched({ now: admin });
  const first = await roster.GET("/api/v1/entities/users");
  const again = await roster.GET("/api/v1/entities/users");
  assert.deepEqual(wire.map(({ status }) => status), [200, 304]);
  assert.equal(again.response.status, 200);
  assert.ok(first.data.length > 1);
  assert.deepEqual(again.data, first.data);
  assert.ok(again.response.headers.get("Roster-As-Of"));
});

test("another caller gets its own answer", async () => {
  const token = { now: admin };
  const { roster, wire } = watched(token);
  await roster.GET("/api/admin/getUsersInOrg");
  token.now = member;
  const refused = await roster.GET("/api/admin/getUsersInOrg");
  assert.equal(refused.error.code, "FORBIDDEN");
  assert.deepEqual(wire.map(({ sent }) => sent), [null, null]);
  // What was refused is not answered from what was kept before.
  token.now = admin;
  const back = await roster.GET("/api/admin/getUsersInOrg");
  assert.equal(back.response.status, 200);
  assert.equal(wire[2].sent, null);
});

test("a list is walked page by page", async () => {
  const { roster } = watched({ now: admin });
  const whole = await roster.GET("/api/admin/getUsersInOrg", { params: { query: { activityStatus: "all" } } });
  const rows = [];
  let cursor;
  do {
    const query = { activityStatus: "all", limit: 5, ...(cursor && { cursor }) };
    const page = await roster.GET("/api/admin/getUsersInOrg", { params: { query } });
    rows.push(...page.data);
    cursor = nextCursor(page.response);
  } while (cursor);
  assert.deepEqual(rows, whole.data);
  assert.ok(rows.some((row) => row.activityStatus === "pending"));
});

test("parameters arrive as the service reads them", async () => {
  const { roster } = watched({ now: admin });
  const { data: all } = await roster.GET("/api/v1/entities/users");
  const ids = all.slice(0, 2).map((user) => user.id);
  const some = await roster.GET("/api/v1/entities/users", { params: { query: { ids } } });
  assert.deepEqual(some.data.map((user) => user.id), ids);

  const none = { "metadata.no such field": "x" };
  const nobody = await roster.GET("/api/admin/getUsersInOrg", { params: { query: { metadata: none } } });
  assert.deepEqual(nobody.data, []);

  const path = { userId: ids[0] };
  const one = await roster.GET("/api/v1/entities/users/{userId}", { params: { path } });
  assert.deepEqual(one.data, all[0]);
});

test("an error is a problem with a code", async () => {
  const { roster } = watched({ now: "not.a.token" });
  const { error, response } = await roster.GET("/api/v1/entities/users");
  assert.equal(response.status, 401);
  assert.equal(error.code, "UNAUTHORIZED");
  assert.equal(error.requestId, response.headers.get("X-Request-Id"));
});

/** Somebody gets another last name, as Clerk would tell it. */
async function rename({ id, createdAt }, last_name) {
  const secret = readFileSync(process.env.ROSTER_WEBHOOK_SECRET_FILE, "utf8").trim().replace("whsec_", "");
  const now = Date.now();
  const data = { id, object: "user", first_name: "Re", last_name, created_at: Date.parse(createdAt), updated_at: now };
  const body = JSON.stringify({ type: "user.updated", object: "event", timestamp: now, data });
  const message = `msg_${randomUUID()}`;
  const seconds = String(Math.floor(now / 1000));
  const signed = createHmac("sha256", Buffer.from(secret, "base64")).update(`${message}.${seconds}.${body}`);
  const headers = {
    "svix-id": message,
    "svix-timestamp": seconds,
    "svix-signature": `v1,${signed.digest("base64")}`,
  };
  const answer = await fetch(`${baseUrl}/webhooks/clerk`, { method: "POST", headers, body });
  assert.deepEqual(await answer.json(), { outcome: "applied" });
}

/** The answer, cut off after the first event. */
function cutOff(response) {
  let text = "";
  const cut = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk);
      text += new TextDecoder().decode(chunk);
      if (text.includes("event: member")) controller.terminate();
    },
  });
  return new Response(response.body.pipeThrough(cut), response);
}

test("whoever follows misses nothing, not even over a lost line", async () => {
  const { roster } = watched({ now: admin });
  const leaving = new AbortController();
  const told = [];
  const asked = [];
  let members = [];
  await followMembers({
    baseUrl,
    getToken: async () => admin,
    signal: leaving.signal,
    fetch: async (request) => {
      asked.push(request.headers.get("Last-Event-ID"));
      const response = await fetch(request);
      if (asked.length > 1) return response;
      return cutOff(response);
    },
    onReset: async () => {
      ({ data: members } = await roster.GET("/api/v1/entities/users"));
      await rename(members[0], "First");
    },
    onChange: async ({ id, change }) => {
      const { data } = await roster.GET("/api/v1/entities/users", { params: { query: { ids: [id] } } });
      told.push([id, change, data[0].lastName]);
      // The line is lost now.
      if (told.length === 1) await rename(members[1], "Second");
      else leaving.abort();
    },
  });
  assert.deepEqual(told, [
    [members[0].id, "upserted", "First"],
    [members[1].id, "upserted", "Second"],
  ]);
  assert.equal(asked.length, 2);
  assert.equal(asked[0], null);
  assert.match(asked[1], /^[0-9]+$/);
});

test("whoever may not follow is told so", async () => {
  const following = followMembers({
    baseUrl,
    getToken: async () => "not.a.token",
    onReset: () => assert.fail("nothing is to be read"),
    onChange: () => assert.fail("nothing is told"),
  });
  await assert.rejects(following, (error) => error instanceof FollowError && error.problem.code === "UNAUTHORIZED");
});
