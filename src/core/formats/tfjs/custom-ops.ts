/** Operators that the runtime of this package adds to TensorFlow.js, with the number of their outputs where it is not 1. */
export const customTfjsOps: ReadonlyMap<string, number> = new Map([
  ['AsString', 1],
  ['DecodeRaw', 1],
  // One output for each sparse and dense feature and each row partition.
  ['ParseExample', Number.POSITIVE_INFINITY],
  ['ParseExampleV2', Number.POSITIVE_INFINITY],
  ['ParseSingleExample', Number.POSITIVE_INFINITY],
  // Known to tfjs-converter's sources, but its published build leaves them out of its list.
  ['RaggedGather', Number.POSITIVE_INFINITY],
  ['RaggedRange', 2],
  ['RaggedTensorToTensor', 1],
  ['RegexReplace', 1],
  ['StringJoin', 1],
  ['StringLength', 1],
  ['StringLower', 1],
  ['StringSplitV2', 3],
  ['StringStrip', 1],
  ['StringToNumber', 1],
  ['StringUpper', 1],
  ['Substr', 1],
]);
