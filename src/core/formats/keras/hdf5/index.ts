export { isHdf5, openHdf5 } from './file.ts';
export type { Hdf5Object } from './object.ts';
