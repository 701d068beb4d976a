export { readSavedModel, type SavedModelOptions } from './saved-model.ts';
