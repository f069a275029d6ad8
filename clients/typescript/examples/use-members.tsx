// The members of the active organization, in a React app that has Clerk already.

import { useEffect, useMemo, useState } from "react";
import { createRoster, type Problem, type User } from "roster-client";

/** `getToken` and `orgId` are those of Clerk's `useAuth()`. Call `refresh` when something may have changed. */
export function useMembers(
  baseUrl: string,
  { getToken, orgId }: { getToken: () => Promise<string | null>; orgId: string | null | undefined },
) {
  const roster = useMemo(() => createRoster({ baseUrl, getToken }), [baseUrl, getToken]);
  const [asked, setAsked] = useState(0);
  const [state, setState] = useState<{ orgId?: string; members?: User[]; problem?: Problem }>({});

  useEffect(() => {
    if (!orgId) return;
    const leaving = new AbortController();
    roster
      .GET("/api/v1/entities/users", { signal: leaving.signal })
      .then(({ data, error }) => setState({ orgId, ...(data && { members: data }), ...(error && { problem: error }) }))
      .catch((error: unknown) => {
        if (!leaving.signal.aborted) console.warn("Roster cannot be reached", error);
      });
    return () => leaving.abort();
  }, [roster, orgId, asked]);

  // What belongs to the organization before is not shown for a moment either.
  const { members, problem } = state.orgId === orgId ? state : {};
  return { members, problem, refresh: () => setAsked((count) => count + 1) };
}
