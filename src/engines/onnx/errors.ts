import { type BackendId, NearfarError, type NearfarErrorCode } from '../../core/index.ts';
import { messageOf } from '../gpu.ts';

// ONNX Runtime throws plain Errors; what went wrong stands in their text only.
const patterns: readonly (readonly [RegExp, NearfarErrorCode])[] = [
  [
    /out of memory|bad_alloc|failed to allocate|OrtMemoryInfo|Array buffer allocation failed|memory access out of bounds|SafeIntOnOverflow|storage size overflowed/i,
    'out-of-memory',
  ],
  [/device (is|was) lost|device lost|DeviceLost/i, 'device-lost'],
  [/Got invalid dimensions for input|Invalid rank for input|invalid dimension/i, 'shape-mismatch'],
  [/Unexpected input data type/i, 'dtype-mismatch'],
  [
    /could not find an implementation|is not a registered function\/op|NOT_IMPLEMENTED|Unsupported model IR version|opset .* is under development|protobuf parsing failed|No opset import|external ?data|assigned to the default CPU EP|No Op registered/i,
    'unsupported',
  ],
];

/** A typed error for what ONNX Runtime throws; typed errors pass through. */
export function translateOrtError(error: unknown, backend: BackendId, doing: string): NearfarError {
  if (error instanceof NearfarError) return error;
  const message = messageOf(error);
  const code = patterns.find(([pattern]) => pattern.test(message))?.[1] ?? 'internal';
  return new NearfarError(code, `${backend} could not ${doing}: ${message}`, { cause: error, details: { backend } });
}
