import { NearfarError } from '../errors.ts';
import type { ModelFolder } from './model-folder.ts';

// Formats that hold no graph a reader here could take: recognised by content, never unpickled or run, and refused with the way to export.

/** Pickle's PROTO opcode with the version that torch.save has written since 2018; older ones begin with their magic number. */
const PICKLE_2 = [0x80, 0x02];

/** torch/serialization.py: MAGIC_NUMBER 0x1950a86a20f9469cfc6c as a pickled long, after the protocol. */
const LEGACY_MAGIC = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/** What torch's pickles name: modules and their tensors. */
const TORCH_GLOBALS = ['ctorch', 'torch._utils', 'ccollections\nOrderedDict', 'torch.nn.modules'];

const exportOfPyTorch = [
  'import torch',
  'model.eval()',
  'torch.onnx.export(model, (example_input,), "model.onnx", dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},))',
].join('\n');

const exportOfTensorFlowLite =
  'import the SavedModel or Keras model that the .tflite was converted from, or convert it: python -m tf2onnx.convert --tflite model.tflite --output model.onnx';

const exportOfHuggingFace = 'pip install "optimum[exporters]" && optimum-cli export onnx --model FOLDER OUTPUT';

/**
 * What a PyTorch file is, told from its bytes without unpickling anything; undefined when it is none.
 * @param bytes The file, or its first and last parts joined: a ZIP archive names its members at both ends.
 */
export function describePyTorch(bytes: Uint8Array): string | undefined {
  if (startsWith(bytes, [0x50, 0x4b, 3, 4])) {
    const text = latin(bytes.subarray(0, 64 * 2 ** 10)) + latin(bytes.subarray(-64 * 2 ** 10));
    if (text.includes('/constants.pkl') && text.includes('/code/')) return 'a TorchScript archive';
    if (text.includes('/data.pkl')) return 'a PyTorch checkpoint';
    if (text.includes('serialized_exported_program') || text.includes('/archive_format') || text.includes('archive_format\u0000'))
      return 'a PyTorch exported program (.pt2)';
    return undefined;
  }
  if (startsWith(bytes, LEGACY_MAGIC)) return 'a PyTorch checkpoint of the form before 1.6';
  if (startsWith(bytes, PICKLE_2)) {
    const text = latin(bytes.subarray(0, 4096));
    if (TORCH_GLOBALS.some((name) => text.includes(name))) return 'pickled PyTorch objects';
  }
  return undefined;
}

/** Whether bytes are a TensorFlow Lite model: a FlatBuffer with the identifier `TFL3` (tensorflow/lite/schema/schema.fbs). */
export function isTensorFlowLite(bytes: Uint8Array): boolean {
  return latin(bytes.subarray(4, 8)) === 'TFL3';
}

/** Whether a folder is a Hugging Face one with weights alone: its architecture is Python code of the `transformers` package. */
export function isHuggingFaceFolder(folder: ModelFolder): boolean {
  const names = [...folder.keys()];
  const hasWeights = names.some((name) => /^(model|pytorch_model|diffusion_pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)$/.test(name));
  return hasWeights && folder.has('config.json') && !names.some((name) => /\.(onnx|pb|keras|h5)$/.test(name));
}

/**
 * Why a model cannot be imported although what it is is plain, with the lines that export it.
 * @param bytes Of one file, its beginning at least.
 * @returns Undefined when the bytes are none of these formats.
 */
export function refusalOf(bytes: Uint8Array): NearfarError | undefined {
  const pytorch = describePyTorch(bytes);
  if (pytorch !== undefined) {
    return refusal(
      'pytorch',
      `${pytorch} is Python objects, which are never unpickled here; export the model to ONNX where it was trained:\n${exportOfPyTorch}`,
    );
  }
  if (isTensorFlowLite(bytes))
    return refusal('tflite', `a TensorFlow Lite model is compiled for its own runtime; ${exportOfTensorFlowLite}`);
  return undefined;
}

/** The same for a folder. */
export function refusalOfFolder(folder: ModelFolder): NearfarError | undefined {
  if (!isHuggingFaceFolder(folder)) return undefined;
  return refusal('huggingface', `the folder holds weights without an architecture; export it to ONNX: ${exportOfHuggingFace}`);
}

function refusal(format: string, message: string): NearfarError {
  return new NearfarError('unsupported', message, { details: { format } });
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, index) => bytes[index] === byte);
}

/** Each byte as one character. */
function latin(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
