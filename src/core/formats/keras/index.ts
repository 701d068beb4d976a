export { isHdf5, isKerasArchive, isLayersModel, readKeras } from './read.ts';
