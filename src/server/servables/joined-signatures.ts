import { type Manifest, type RunRequest, resolveBindings, type Signature, type TensorMap, type Variant } from '../../core/index.ts';

/** One run in place of several. */
export interface JoinedRun {
  readonly request: RunRequest;
  /** The outputs of each of them. */
  split(outputs: TensorMap): readonly TensorMap[];
}

/**
 * The manifest with a signature more for each tensor of the graph that several signatures read their examples from. It has the outputs of
 * all of them, so that one run answers what is asked of several, as a run of a TensorFlow session does. Engines know it, clients do not.
 */
export function withJoinedSignatures(manifest: Manifest): Manifest {
  const groups = groupsOf(manifest);
  if (groups.length === 0) return manifest;
  const joined = groups.map((names) => [joinedName(names), joinSignatures(manifest, names)] as const);
  return {
    ...manifest,
    signatures: { ...manifest.signatures, ...Object.fromEntries(joined) },
    variants: manifest.variants.map((variant) => ({
      ...variant,
      bindings: {
        ...variant.bindings,
        ...Object.fromEntries(groups.map((names) => [joinedName(names), joinBindings(manifest, variant, names)])),
      },
    })),
  };
}

/** @returns undefined where the signatures do not read the same examples. */
export function joinRuns(manifest: Manifest, runs: readonly RunRequest[]): JoinedRun | undefined {
  const names = groupsOf(manifest).find((group) => runs.every(({ signature }) => group.includes(signature)));
  const [first, ...others] = runs;
  if (!names || !first || others.length === 0) return undefined;
  const outputsOf = ({ signature, outputs }: RunRequest) => outputs ?? Object.keys(manifest.signatures[signature]!.outputs);
  const { inputs } = joinSignatures(manifest, names);
  const [examples] = Object.values(first.inputs);
  return {
    request: {
      signature: joinedName(names),
      inputs: Object.fromEntries(Object.keys(inputs).map((name) => [name, examples!])), // there is one
      outputs: runs.flatMap((run) => outputsOf(run).map((output) => joinedOutput(run.signature, output))),
    },
    split: (outputs) =>
      runs.map((run) =>
        Object.fromEntries(outputsOf(run).map((output) => [output, outputs[joinedOutput(run.signature, output)]!] as const)),
      ),
  };
}

const known = new WeakMap<Manifest, readonly (readonly string[])[]>();

/** The signatures, by name, that read one tensor of examples. */
function groupsOf(manifest: Manifest): readonly (readonly string[])[] {
  const groups = known.get(manifest) ?? findGroups(manifest);
  known.set(manifest, groups);
  return groups;
}

function findGroups(manifest: Manifest): readonly (readonly string[])[] {
  const { signatures, variants } = manifest;
  // No other format has operators that read examples.
  if (variants.some(({ format }) => format !== 'tfjs-graph')) return [];
  const groups = new Map<string, string[]>();
  for (const [name, { inputs }] of Object.entries(signatures)) {
    const [input, ...more] = Object.values(inputs);
    if (input?.dtype !== 'string' || more.length > 0) continue;
    const tensors = JSON.stringify(variants.map((variant) => resolveBindings(manifest, variant, name).inputs[0]?.tensor));
    groups.set(tensors, [...(groups.get(tensors) ?? []), name]);
  }
  return [...groups.values()].filter((names) => names.length > 1 && !Object.hasOwn(signatures, joinedName(names)));
}

/** As metrics of batches show it. */
function joinedName(names: readonly string[]): string {
  return names.join('+');
}

function joinedOutput(signature: string, output: string): string {
  return JSON.stringify([signature, output]);
}

function joinSignatures({ signatures }: Manifest, names: readonly string[]): Signature {
  const { inputs } = signatures[names[0]!]!;
  const outputs = names.flatMap((name) =>
    Object.entries(signatures[name]!.outputs).map(([output, info]) => [joinedOutput(name, output), info] as const),
  );
  return { method: 'predict', inputs, outputs: Object.fromEntries(outputs) };
}

function joinBindings(manifest: Manifest, variant: Variant, names: readonly string[]): NonNullable<Variant['bindings']>[string] {
  const bindings = names.map((name) => ({ name, ...resolveBindings(manifest, variant, name) }));
  const outputs = bindings.flatMap(({ name, outputs }) =>
    outputs.map(({ name: output, tensor, layout, ownLayout, activation }) => {
      const binding = { tensor, activation, ...(ownLayout !== layout && { layout: ownLayout }) };
      return [joinedOutput(name, output), binding] as const;
    }),
  );
  return {
    inputs: Object.fromEntries(bindings[0]!.inputs.map(({ name, tensor }) => [name, { tensor }])),
    outputs: Object.fromEntries(outputs),
  };
}
