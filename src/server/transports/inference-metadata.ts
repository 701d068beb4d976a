import { inferenceDatatypeOf, type Signature } from '../../core/index.ts';
import type { ServableHandle, ServableStore } from '../servables/index.ts';
import { inferenceSignatureName } from './predict-request.ts';
import { availableVersions } from './version-statuses.ts';

/** The extensions of the Open Inference Protocol that are really served. */
export const inferenceExtensions: readonly string[] = [
  'binary_tensor_data',
  'classification',
  'model_configuration',
  'model_repository',
  'model_repository(unload_dependents)',
  'parameters',
  'statistics',
];

/** Triton's names of what a model was made with. */
const platforms: Readonly<Record<string, string>> = { tensorflow: 'tensorflow_savedmodel', onnx: 'onnx_onnxv1' };

export interface InferenceTensorMetadata {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

export interface InferenceModelMetadata {
  readonly name: string;
  readonly versions: string[];
  readonly platform: string;
  readonly inputs: InferenceTensorMetadata[];
  readonly outputs: InferenceTensorMetadata[];
}

/** Model metadata of the Open Inference Protocol, of the signature that an infer request means when it names none. */
export function inferenceModelMetadata(servables: ServableStore, handle: ServableHandle): InferenceModelMetadata {
  const signature = handle.manifest.signatures[inferenceSignatureName(handle.manifest, undefined)];
  return {
    name: handle.name,
    versions: [...availableVersions(servables, handle.name)],
    platform: platforms[handle.platform] ?? handle.platform,
    inputs: tensorMetadata(signature?.inputs),
    outputs: tensorMetadata(signature?.outputs),
  };
}

function tensorMetadata(infos: Signature['inputs'] = {}): InferenceTensorMetadata[] {
  return Object.entries(infos).map(([name, { dtype, shape }]) => ({
    name,
    datatype: inferenceDatatypeOf(dtype) ?? dtype.toUpperCase(),
    shape,
  }));
}
