// Keeps the last answer of each URL and asks only whether it is still right. The service answers 304 with no body
// then, and the caller gets the kept one as if it had been sent again.

import type { Middleware } from "openapi-fetch";

interface Kept {
  etag: string;
  caller: string;
  body: string;
  headers: [string, string][];
}

/** Asks with `If-None-Match` for what was answered before. At most `limit` answers are kept, the oldest goes first. */
export function etags(limit = 50): Middleware {
  const kept = new Map<string, Kept>();
  // What a request on its way may be answered with, whatever happens to `kept` meanwhile.
  const offered = new Map<string, Kept>();

  return {
    onRequest({ id, request }) {
      const known = kept.get(request.url);
      // Another token may be another organization's: what it would get is not what was kept.
      if (request.method === "GET" && known?.caller === caller(request)) {
        request.headers.set("If-None-Match", known.etag);
        offered.set(id, known);
      }
      return request;
    },

    async onResponse({ id, request, response }) {
      const known = offered.get(id);
      offered.delete(id);
      if (request.method !== "GET") return undefined;
      if (response.status === 304 && known) {
        const headers = new Headers(known.headers);
        response.headers.forEach((value, name) => headers.set(name, value));
        return new Response(known.body, { status: 200, headers });
      }
      // Whatever this is, what was kept is not the answer any more.
      kept.delete(request.url);
      const etag = response.headers.get("ETag");
      if (response.status === 200 && etag) {
        const body = await response.clone().text();
        kept.set(request.url, { etag, caller: caller(request), body, headers: content(response) });
        const oldest = kept.keys().next().value;
        if (kept.size > limit && oldest !== undefined) kept.delete(oldest);
      }
      return undefined;
    },

    onError({ id }) {
      offered.delete(id);
      return undefined;
    },
  };
}

/** Whose answer it is: the user and the organization in the token. A session's token is renewed every minute. */
function caller(request: Request): string {
  const token = request.headers.get("Authorization") ?? "";
  try {
    const payload = token.split(".")[1] ?? "";
    const claims = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/")));
    return JSON.stringify([claims.iss, claims.sub, claims.o?.id ?? claims.org_id]);
  } catch {
    return token;
  }
}

/** What describes the body, without how it was packed on the way. */
function content(response: Response): [string, string][] {
  return [...response.headers].filter(([name]) => name !== "content-encoding" && name !== "content-length");
}
