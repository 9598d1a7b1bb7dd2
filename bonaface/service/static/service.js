// The service's API as the page uses it. Errors are problem details; their sentence is shown as it is.

const KEY = "bonaface-key";

export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? `The service answered ${status}.`);
    this.status = status;
    this.photos = problem.photos ?? [];
  }
}

export function useKey(text) {
  sessionStorage.setItem(KEY, text.replace(/[^\x21-\x7e]/g, "")); // what a chat or a PDF puts beside it is no part of any key
}

export async function ask(path, { method = "GET", form = null, raw = false } = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: form });
  } catch {
    throw new Refused({ detail: "The service can't be reached. Is it running?" }, 0);
  }
  if (answer.ok) return raw ? answer.blob() : answer.json();
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) document.getElementById("key").hidden = false;
  throw new Refused(problem, answer.status);
}

export function formOf(fields) {
  const form = new FormData();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) form.append(name, value);
  }
  return form;
}
