export { type GraphDefOptions, readGraphDef } from './graph-def.ts';
export { isGraphDef, isSavedModel } from './recognise.ts';
export { readSavedModel, type SavedModelOptions } from './saved-model.ts';
export { readTfRecords } from './tf-record.ts';
