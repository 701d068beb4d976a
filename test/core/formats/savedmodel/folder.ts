import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import type { Constant, GraphNode, ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import type { ModelFile, ModelFolder } from '../../../../src/core/formats/model-folder.ts';
import { NearfarError } from '../../../../src/core/index.ts';

/** A file in memory. */
export function memoryFile(bytes: Uint8Array): ModelFile {
  return {
    byteLength: bytes.length,
    read: async (start, end) => {
      if (!(start >= 0 && start <= end && end <= bytes.length))
        throw new NearfarError('invalid-argument', `[${start}, ${end}) leaves the file`);
      return bytes.slice(start, end);
    },
  };
}

/** The files of a directory in memory, some of them replaced. */
export function readFolder(directory: string, replace: Readonly<Record<string, Uint8Array | undefined>> = {}): ModelFolder {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = new Map<string, ModelFile>();
  for (const entry of entries) {
    const file = join(entry.parentPath, entry.name);
    files.set(relative(directory, file).split(sep).join('/'), memoryFile(new Uint8Array(readFileSync(file))));
  }
  for (const [path, bytes] of Object.entries(replace)) {
    if (bytes) files.set(path, memoryFile(bytes));
    else files.delete(path);
  }
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** How often each operator occurs. */
export function countOps(nodes: Iterable<GraphNode>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op } of nodes) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}

/** The constants of a graph and of its functions, each once. */
export function constantsOf({ nodes, functions }: ModelGraph): Set<Constant> {
  const all = [nodes, ...[...functions.values()].map((body) => body.nodes)].flatMap((some) => [...some.values()]);
  const attributes = all.flatMap((node) => Object.values(node.attributes));
  return new Set(attributes.flatMap((attribute) => (attribute.kind === 'tensor' ? [attribute.value] : [])));
}
