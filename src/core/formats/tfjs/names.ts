/** Hands out names that TensorFlow.js takes, each once. */
export interface NodeNames {
  /** The wanted name, or the nearest that is free. */
  take(wanted: string): string;
}

/**
 * TensorFlow's rule of node names (NodeDef.name). TensorFlow.js also reads `^`, `:` and `,` in a name as its own marks.
 * @param lowerCase For names that tfjs-converter reads in lower case: frames of loops.
 */
export function createNodeNames({ lowerCase = false } = {}): NodeNames {
  // TensorFlow.js looks names up in plain objects, where these are there already.
  const taken = new Set(Object.getOwnPropertyNames(Object.prototype));
  const next = new Map<string, number>();
  return {
    take(wanted) {
      const plain = wanted.replace(/[^A-Za-z0-9_.\-/]/g, '_').replace(/^(?![A-Za-z0-9.])/, 'n');
      const base = lowerCase ? plain.toLowerCase() : plain;
      let name = base;
      while (taken.has(name)) {
        const number = next.get(base) ?? 1;
        next.set(base, number + 1);
        name = `${base}_${number}`;
      }
      taken.add(name);
      return name;
    },
  };
}
