import { NearfarError } from 'nearfar';

/** The element with this id, narrowed to its class; the page's own markup is at fault when it is missing. */
export function element<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new TypeError(`#${id} should be a ${type.name}`);
}

/** Creates an element with properties and children in one expression. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** An error as a visitor sees it: nearfar's with their code. */
export function messageOf(error: unknown): string {
  return error instanceof NearfarError ? `${error.code}: ${error.message}` : String(error);
}

export function formatBytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
