import type { EmittedModel, ModelGraph } from '../../src/core/formats/index.ts';
import type { Manifest, TensorInfo, Variant, VariantSource } from '../../src/core/index.ts';

/** A written graph as an engine loads it, in memory. */
export async function emittedSource(graph: ModelGraph, emitted: EmittedModel): Promise<VariantSource> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [path, file] of emitted.files) {
    const bytes = new Uint8Array(file.byteLength);
    let position = 0;
    for await (const part of file.read()) {
      bytes.set(part, position);
      position += part.byteLength;
    }
    files.set(path, bytes);
  }
  const { format, precision, entry, bindings } = emitted;
  const infos = (tensors: ModelGraph['signatures'][string]['outputs'] | ModelGraph['signatures'][string]['inputs']) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { dtype, shape = [] }]): [string, TensorInfo] => [name, { dtype, shape: [...shape] }]),
    );
  const manifest: Manifest = {
    schemaVersion: 1,
    name: 'graph',
    version: '1',
    signatures: Object.fromEntries(
      Object.entries(graph.signatures).map(([name, { method, inputs, outputs }]) => [
        name,
        { method, inputs: infos(inputs), outputs: infos(outputs) },
      ]),
    ),
    variants: [],
    files: {},
    golden: [],
  };
  const variant: Variant = {
    id: `${format}-${precision}`,
    format,
    precision,
    entry,
    files: [...files.keys()],
    requires: [],
    bindings: { ...bindings } as NonNullable<Variant['bindings']>,
    tolerance: { absolute: 0, relative: 0 },
  };
  return { manifest, variant, readFile: async (path) => files.get(path)!.slice() };
}
