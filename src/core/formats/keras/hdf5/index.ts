export { isHdf5, openHdf5 } from './file.ts';
export type { AttributeValue, Hdf5Dataset, Hdf5Object } from './object.ts';
