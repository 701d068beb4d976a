import { type DType, inferenceDatatypeOf, type TensorInfo } from '../../core/index.ts';
import type { ServableHandle } from '../servables/index.ts';
import { isBatchedSignature } from './inference.ts';
import { inferenceSignatureName } from './predict-request.ts';

/** Rows that clients may send at once; there is no limit but that of a message, and Triton's clients want one. It is TensorFlow Serving's default. */
const maxBatchSize = 1000;

/**
 * What Triton's model configuration says of a version, as its JSON has it, for the signature that an infer request means when it names
 * none: enough for clients to find out what to send.
 */
export function modelConfig(handle: ServableHandle) {
  const { manifest, name, backend, variant, digest, platform } = handle;
  const signatureName = inferenceSignatureName(manifest, undefined);
  const signature = manifest.signatures[signatureName];
  const task = manifest.tasks?.['image-classification'];
  const taskOfSignature = task?.signature === signatureName ? task : undefined;
  const isBatched = isBatchedSignature(signature);
  const dims = ({ shape }: TensorInfo) => (isBatched ? shape.slice(1) : shape);
  const isOnnx = platform === 'onnx';
  return {
    name,
    platform: isOnnx ? 'onnxruntime_onnx' : 'tensorflow_savedmodel',
    backend: isOnnx ? 'onnxruntime' : 'tensorflow',
    max_batch_size: isBatched ? maxBatchSize : 0,
    input: Object.entries(signature?.inputs ?? {}).map(([input, info]) => ({
      name: input,
      data_type: configDataType(info.dtype),
      format: taskOfSignature?.input.name === input ? (`FORMAT_${taskOfSignature.input.layout}` as const) : 'FORMAT_NONE',
      dims: dims(info),
      optional: false,
    })),
    output: Object.entries(signature?.outputs ?? {}).map(([output, info]) => ({
      name: output,
      data_type: configDataType(info.dtype),
      dims: dims(info),
      label_filename: taskOfSignature?.output.name === output ? (taskOfSignature.output.labels ?? '') : '',
    })),
    instance_group: [{ name: `${name}_0`, kind: isGpu(backend) ? 'KIND_GPU' : 'KIND_CPU', count: 1, gpus: isGpu(backend) ? [0] : [] }],
    default_model_filename: isOnnx ? 'model.onnx' : 'model.savedmodel',
    parameters: {
      'nearfar-backend': { string_value: backend },
      'nearfar-variant': { string_value: variant },
      'nearfar-model-digest': { string_value: digest },
      signature_name: { string_value: signatureName },
    },
    model_transaction_policy: { decoupled: false },
  };
}

function configDataType(dtype: DType): string {
  const datatype = inferenceDatatypeOf(dtype);
  return datatype === undefined ? 'TYPE_INVALID' : `TYPE_${datatype === 'BYTES' ? 'STRING' : datatype}`;
}

function isGpu(backend: string): boolean {
  return backend.endsWith('-webgpu') || backend.endsWith('-cuda') || backend.endsWith('-tensorrt');
}
