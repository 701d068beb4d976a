import type { Manifest } from '../manifest/index.ts';
import type { RunRequest } from './engine.ts';

/** Whether each input and each wanted output has a batch dimension. */
export function isBatchable({ signatures }: Manifest, { signature: name, outputs }: Pick<RunRequest, 'signature' | 'outputs'>): boolean {
  const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
  if (!signature) return false;
  const hasRows = ({ shape }: { readonly shape: readonly number[] }) => shape[0] === -1;
  const isWanted = (output: string) => outputs === undefined || outputs.length === 0 || outputs.includes(output);
  return (
    Object.values(signature.inputs).every(hasRows) &&
    Object.entries(signature.outputs).every(([output, info]) => !isWanted(output) || hasRows(info))
  );
}

/**
 * Requests of one version with one key differ in their rows only, and can run together.
 * @param options.padsVariableLengths Whether the dimensions behind the first may differ, too, as they are filled up.
 */
export function batchKey({ signature, inputs, layouts, outputs }: RunRequest, { padsVariableLengths = false } = {}): string {
  const wanted = outputs ? [...outputs].sort().join('\0') : '';
  return Object.entries(inputs).reduce((key, [name, { dtype, shape }]) => {
    const kind = padsVariableLengths ? shape.length : shape.slice(1).join();
    return `${key}\0\0${name}\0${dtype}\0${kind}\0${layouts?.[name] ?? ''}`;
  }, `${signature}\0${wanted}`);
}
