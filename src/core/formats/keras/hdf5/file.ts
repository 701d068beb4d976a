import type { ModelFile } from '../../model-folder.ts';
import type { Sizes } from './header.ts';
import { Hdf5Object } from './object.ts';
import { damaged, Source, unsupported } from './source.ts';

// The HDF5 File Format Specification, version 3.0 (https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html), as far as h5py
// writes it for Keras: superblocks 0 to 3, symbol tables and link messages, contiguous, compact and chunked datasets.

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether bytes begin as an HDF5 file does; a user block before the superblock is not looked for. */
export function isHdf5(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, index) => bytes[index] === byte);
}

/**
 * The root group of an HDF5 file. Structures are read when they are asked for, by range.
 * @throws {NearfarError} `invalid-argument` when the file is damaged; `unsupported` for what Keras does not write.
 */
export async function openHdf5(file: ModelFile): Promise<Hdf5Object> {
  const source = new Source(file);
  const start = await source.cursor(0, Math.min(96, source.byteLength));
  if (!isHdf5(start.bytes)) throw damaged('it does not begin with the HDF5 signature');
  start.skip(8);
  const version = start.uint(1);
  if (version > 3) throw unsupported(`a superblock of version ${version}`);
  if (version >= 2) {
    const sizes = checked({ address: start.uint(1), length: start.uint(1) });
    start.skip(1);
    assertNoBase(start.uint(sizes.address));
    start.skip(2 * sizes.address);
    return new Hdf5Object(source, sizes, start.uint(sizes.address), '');
  }
  start.skip(4);
  const sizes = checked({ address: start.uint(1), length: start.uint(1) });
  start.skip(9 + (version === 1 ? 4 : 0));
  assertNoBase(start.uint(sizes.address));
  // Free space, end of file, driver information, and the name of the root's symbol table entry.
  start.skip(4 * sizes.address);
  return new Hdf5Object(source, sizes, start.uint(sizes.address), '');
}

function checked(sizes: Sizes): Sizes {
  const isKnown = (size: number) => size === 4 || size === 8;
  if (!isKnown(sizes.address) || !isKnown(sizes.length))
    throw unsupported(`addresses of ${sizes.address} and lengths of ${sizes.length} bytes`);
  return sizes;
}

function assertNoBase(address: number): void {
  if (address !== 0) throw unsupported('a file that begins before its superblock');
}
