/** What the bench that opened this page wants of it, from the address. */
export function taskOfPage<Task>(): Task {
  return JSON.parse(decodeURIComponent(location.search.slice(1)));
}
