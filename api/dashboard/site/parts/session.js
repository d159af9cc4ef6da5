// Who one is to the server. A token lives in this tab alone, and goes nowhere but into a header.

const TOKEN = "countermand.token", ACTOR = "countermand.actor";

export const session = {
  token: sessionStorage.getItem(TOKEN) ?? "",
  actor: sessionStorage.getItem(ACTOR) ?? "",
  /** What GET /api/v1/me says; null as long as nobody is signed in. */
  me: null,
};

export function signIn({ token = "", actor = "" }) {
  Object.assign(session, { token, actor });
  keep(TOKEN, token);
  keep(ACTOR, actor);
}

export function signOut() {
  signIn({});
  session.me = null;
}

/** The headers that say who asks. */
export function identifying() {
  const headers = {};
  if (session.token) headers.Authorization = `Bearer ${session.token}`;
  if (session.actor) headers["Countermand-Actor"] = session.actor;
  return headers;
}

/** Whether the caller holds a permission, or one of several, in the tenant or in any project. */
export function may(permission) {
  const held = session.me && [session.me.permissions, ...Object.values(session.me.projects)].flat();
  return Boolean(held) && [permission].flat().some((each) => held.includes(each));
}

function keep(name, value) {
  if (value) sessionStorage.setItem(name, value);
  else sessionStorage.removeItem(name);
}
