export { type GraphDefOptions, readGraphDef } from './graph-def.ts';
export {
  describeSavedModel,
  type SavedModelDescription,
  type SavedModelGraph,
  type SavedModelSignature,
  type SavedModelTensor,
} from './inspect.ts';
export { isGraphDef, isSavedModel } from './recognise.ts';
export { readSavedModel, type SavedModelOptions } from './saved-model.ts';
export { encodeTfRecord, readTfRecords, warmupPath } from './tf-record.ts';
