import type { Edge } from '../graph/index.ts';
import type { FlatNode, Scope } from './flatten.ts';

// A signature may feed any tensor, not only placeholders: then all between it and the outputs exists a second time, with a placeholder
// in the place of the node that other signatures compute.

interface Overlay {
  /** Name of the placeholder of a fed edge. */
  input(edge: Edge): string;
  output(edge: Edge): Edge;
}

interface Copy {
  readonly prefix: string;
  /** Placeholder by fed edge (`name:index`). */
  readonly fed: ReadonlyMap<string, string>;
  /** All nodes that read a fed edge, if only through others. */
  readonly dependents: ReadonlySet<string>;
  /** Nodes that were copied. */
  readonly copied: Map<string, string>;
}

export class Overlays {
  readonly #scope: Scope;
  readonly #copies = new Map<string, Copy>();
  /** Names before the prefix. */
  readonly #plain = new Map<string, string>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  /** Prepares the graph for a signature that feeds and reads these edges; signatures that feed the same share their copies. */
  feed(signature: string, fed: readonly Edge[], outputs: readonly Edge[]): Overlay {
    const special = fed.filter((edge) => !this.#isPlaceholder(edge));
    if (special.length === 0) return { input: ({ node }) => node, output: (edge) => edge };
    const key = [...new Set(special.map(keyOf))].sort().join('\n');
    let copy = this.#copies.get(key);
    if (!copy) {
      copy = this.#prepare(signature, special);
      this.#copies.set(key, copy);
    }
    const { fed: placeholders } = copy;
    this.#copyUpTo(copy, outputs);
    return { input: (edge) => placeholders.get(keyOf(edge)) ?? edge.node, output: (edge) => moved(copy, edge) };
  }

  /** Old names for copies of which no original is left, so that most graphs keep the names they have in TensorFlow. */
  plainNames(nodes: ReadonlyMap<string, unknown>): ReadonlyMap<string, string> {
    const names = new Map<string, string>();
    const taken = new Set<string>();
    for (const [copy, plain] of this.#plain) {
      if (!nodes.has(copy) || nodes.has(plain) || taken.has(plain)) continue;
      names.set(copy, plain);
      taken.add(plain);
    }
    return names;
  }

  #isPlaceholder({ node, index }: Edge): boolean {
    const op = this.#scope.nodes.get(node)?.op;
    return index === 0 && (op === 'Placeholder' || op === 'PlaceholderV2');
  }

  #prepare(signature: string, fed: readonly Edge[]): Copy {
    let prefix = `${signature}/`;
    const names = [...this.#scope.nodes.keys()];
    while (names.some((name) => name.startsWith(prefix))) prefix += '_/';
    const placeholders = new Map<string, string>();
    for (const edge of fed) {
      const plain = edge.index === 0 ? edge.node : `${edge.node}_${edge.index}`;
      const source = this.#scope.nodes.get(edge.node);
      const dtype = source?.attrs.get('dtype');
      const name = prefix + plain;
      placeholders.set(keyOf(edge), name);
      this.#plain.set(name, plain);
      this.#scope.nodes.set(name, { name, op: 'Placeholder', inputs: [], controls: [], attrs: new Map(dtype ? [['dtype', dtype]] : []) });
    }
    return { prefix, fed: placeholders, dependents: this.#dependents(placeholders), copied: new Map() };
  }

  #dependents(fed: ReadonlyMap<string, string>): ReadonlySet<string> {
    const readers = new Map<string, string[]>();
    const found: string[] = [];
    for (const { name, inputs } of this.#scope.nodes.values()) {
      if (inputs.some((input) => fed.has(keyOf(input)))) found.push(name);
      for (const { node } of inputs) {
        const list = readers.get(node);
        if (list) list.push(name);
        else readers.set(node, [name]);
      }
    }
    const dependents = new Set<string>();
    for (let name = found.pop(); name !== undefined; name = found.pop()) {
      if (dependents.has(name)) continue;
      dependents.add(name);
      found.push(...(readers.get(name) ?? []));
    }
    return dependents;
  }

  /** Copies what outputs need of the dependents. */
  #copyUpTo(copy: Copy, outputs: readonly Edge[]): void {
    const made: FlatNode[] = [];
    const open = outputs.filter((edge) => !copy.fed.has(keyOf(edge))).map(({ node }) => node);
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const node = this.#scope.nodes.get(name);
      if (!node || copy.copied.has(name) || !copy.dependents.has(name)) continue;
      const target = copy.prefix + name;
      copy.copied.set(name, target);
      this.#plain.set(target, name);
      made.push(node);
      open.push(...node.inputs.filter((edge) => !copy.fed.has(keyOf(edge))).map((edge) => edge.node));
    }
    // Only now is it known which of their inputs are copied too.
    for (const node of made) {
      const name = copy.prefix + node.name;
      const controls = node.controls.map((control) => copy.copied.get(control) ?? control);
      this.#scope.nodes.set(name, { ...node, name, inputs: node.inputs.map((edge) => moved(copy, edge)), controls });
    }
  }
}

function keyOf({ node, index }: Edge): string {
  return `${node}:${index}`;
}

function moved(copy: Copy, edge: Edge): Edge {
  const placeholder = copy.fed.get(keyOf(edge));
  if (placeholder !== undefined) return { node: placeholder, index: 0 };
  const node = copy.copied.get(edge.node);
  return node === undefined ? edge : { node, index: edge.index };
}
