// The public names of `nearfar/react`.
export { type ModelProgress, type UseModelResult, useModel } from './use-model.ts';
