import { create } from '@bufbuild/protobuf';
import { type ModelSpec, ModelSpecSchema, NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';

/** @throws {NearfarError} `invalid-argument` with TensorFlow Serving's texts when there is no spec or no name. */
export function toServableSpec(spec: ModelSpec | undefined): ServableSpec {
  if (!spec) throw new NearfarError('invalid-argument', 'Missing ModelSpec');
  if (spec.name === '') throw new NearfarError('invalid-argument', 'ModelSpec has no name specified.');
  const { case: by, value } = spec.versionChoice;
  switch (by) {
    case 'version':
      return { name: spec.name, version: value.value.toString() };
    case 'versionLabel':
      return { name: spec.name, label: value };
    default:
      return { name: spec.name };
  }
}

/** The spec of an answer: name and version that were meant in the end. */
export function toModelSpec({ name, version }: { readonly name: string; readonly version: string }, signatureName: string): ModelSpec {
  return create(ModelSpecSchema, { name, versionChoice: { case: 'version', value: { value: BigInt(version) } }, signatureName });
}
