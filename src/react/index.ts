// The public names of `nearfar/react`.
export { type ModelProgress, type UseModelOptions, type UseModelResult, useModel } from './use-model.ts';
