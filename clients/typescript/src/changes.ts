// Follows the members of the caller's organization, so that an app refreshes when something changed. A browser's
// `EventSource` cannot send a bearer token, so the stream is read with `fetch`.

import type { components } from "./schema.js";

/** Who changed, and how: `upserted` is new or to be read again, `removed` is gone. */
export type Change = components["schemas"]["Change"];

export interface FollowOptions {
  /** Where Roster is, such as `https://roster.example.com`. */
  baseUrl: string;
  /** Clerk's `getToken`; asked before each connection. Without it the `__session` cookie has to do. */
  getToken?: () => Promise<string | null>;
  /** The whole list is to be read: at the beginning, and when something was missed. */
  onReset: () => void | Promise<void>;
  /** This member has changed. The next one is told when the promise is kept. */
  onChange: (change: Change) => void | Promise<void>;
  /** Ends it. */
  signal?: AbortSignal;
  /** Instead of the global one. */
  fetch?: (request: Request) => Promise<Response>;
}

/** What Roster says when it does not serve the feed, such as 403 when the caller was removed. */
export class FollowError extends Error {
  constructor(
    readonly status: number,
    readonly problem: components["schemas"]["Problem"] | undefined,
  ) {
    super(`the feed was refused: ${status} ${problem?.code ?? ""}`);
  }
}

const WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

/**
 * Follows until `signal` ends it, over lost lines and new tokens, and misses nothing. Rejects when a handler does, and with
 * a `FollowError` when the caller may not follow.
 */
export async function followMembers(options: FollowOptions): Promise<void> {
  const { signal, onReset, onChange } = options;
  let lastId: string | undefined;
  let failures = 0;
  while (!signal?.aborted) {
    const response = await connect(options, lastId);
    if (response?.ok && response.body) {
      failures = 0;
      // The list is read when the line stands: whatever comes after is told.
      if (lastId === undefined) await onReset();
      const events = serverSentEvents(response.body);
      for (;;) {
        // A lost line is no reason to stop, an error of a handler is.
        const next = await events.next().catch(() => ({ done: true, value: undefined }) as const);
        if (next.done || signal?.aborted) break;
        const { event, data, id } = next.value;
        if (event === "reset") await onReset();
        if (event === "member") await onChange(JSON.parse(data) as Change);
        // Only what was dealt with is not asked for again.
        lastId = id ?? lastId;
      }
      await events.return(undefined).catch(() => undefined);
    } else if (response && response.status !== 429 && response.status < 500) {
      throw new FollowError(response.status, await response.json().catch(() => undefined));
    } else {
      failures += 1;
    }
    // Not all of them at the same moment after a restart.
    const wait = Math.min(WAIT_MS * 2 ** failures, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
    if (!signal?.aborted) await pause(wait, signal);
  }
}

/** One answer; nothing when Roster cannot be reached. */
async function connect(options: FollowOptions, lastId: string | undefined): Promise<Response | undefined> {
  const { baseUrl, getToken, signal, fetch = globalThis.fetch } = options;
  const headers = new Headers({ Accept: "text/event-stream" });
  const token = await getToken?.();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (lastId !== undefined) headers.set("Last-Event-ID", lastId);
  try {
    const url = `${baseUrl.replace(/\/$/, "")}/api/v1/changes`;
    return await fetch(new Request(url, { headers, cache: "no-store", ...(signal && { signal }) }));
  } catch {
    return undefined;
  }
}

interface ServerSentEvent {
  event: string;
  data: string;
  id: string | undefined;
}

/** What comes between empty lines, also what has an id alone. */
async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = new Map<string, string>();
        for (const line of block.split("\n")) {
          const at = line.indexOf(": ");
          if (at > 0) fields.set(line.slice(0, at), line.slice(at + 2));
        }
        yield { event: fields.get("event") ?? "", data: fields.get("data") ?? "", id: fields.get("id") };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
