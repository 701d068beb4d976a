import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { maskedCrc32c } from '../../../../src/core/formats/savedmodel/crc32c.ts';

// Writes tensor bundles that TensorFlow on this machine does not: compressed, big-endian, of several shards.

export interface WrittenTensor {
  readonly name: string;
  /** TensorFlow's DataType. */
  readonly dataType: number;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  readonly shard?: number;
}

export interface BundleOptions {
  readonly isBigEndian?: boolean;
  readonly shards?: number;
  /** Compresses a block of the index; the identity when there is none. */
  readonly compress?: (block: Uint8Array) => Uint8Array;
}

/** Files of the bundle `variables/variables`. */
export function writeBundle(tensors: readonly WrittenTensor[], options: BundleOptions = {}): Map<string, Uint8Array> {
  const shards = options.shards ?? 1;
  const data = Array.from({ length: shards }, () => [] as number[]);
  const header = new BinaryWriter()
    .tag(1, WireType.Varint)
    .int32(shards)
    .tag(2, WireType.Varint)
    .int32(options.isBigEndian ? 1 : 0)
    .finish();
  const entries: [string, Uint8Array][] = [['', header]];
  for (const { name, dataType, shape, bytes, shard = 0 } of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const dims = new BinaryWriter();
    for (const size of shape) dims.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(size).join();
    const entry = new BinaryWriter().tag(1, WireType.Varint).int32(dataType).tag(2, WireType.LengthDelimited).bytes(dims.finish());
    entry
      .tag(3, WireType.Varint)
      .int32(shard)
      .tag(4, WireType.Varint)
      .int64(data[shard]!.length)
      .tag(5, WireType.Varint)
      .int64(bytes.length);
    entry.tag(6, WireType.Bit32).fixed32(maskedCrc32c(bytes));
    entries.push([name, entry.finish()]);
    data[shard]!.push(...bytes);
  }
  const files = new Map([['variables/variables.index', writeTable(entries, options.compress)]]);
  const pad = (number: number) => String(number).padStart(5, '0');
  for (const [shard, bytes] of data.entries())
    files.set(`variables/variables.data-${pad(shard)}-of-${pad(shards)}`, Uint8Array.from(bytes));
  return files;
}

/** LevelDB's table of one data block. */
export function writeTable(entries: readonly (readonly [string, Uint8Array])[], compress?: (block: Uint8Array) => Uint8Array): Uint8Array {
  const file: number[] = [];
  const append = (block: Uint8Array, type: number): Uint8Array => {
    const handle = new BinaryWriter().int64(file.length).int64(block.length).finish();
    const content = Uint8Array.of(...block, type);
    const crc = new Uint8Array(4);
    new DataView(crc.buffer).setUint32(0, maskedCrc32c(content), true);
    file.push(...content, ...crc);
    return handle;
  };
  const block = writeBlock(entries);
  const data = compress ? append(compress(block), 1) : append(block, 0);
  const meta = append(writeBlock([]), 0);
  const index = append(writeBlock([['~', data]]), 0);
  const footer = new Uint8Array(48);
  footer.set([...meta, ...index]);
  footer.set([0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb], 40);
  return Uint8Array.from([...file, ...footer]);
}

/** Keys share what they begin with, as LevelDB writes them. */
function writeBlock(entries: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const writer = new BinaryWriter();
  let last = '';
  for (const [key, value] of entries) {
    let shared = 0;
    while (shared < last.length && last[shared] === key[shared]) shared += 1;
    const own = new TextEncoder().encode(key.slice(shared));
    writer.uint32(shared).uint32(own.length).uint32(value.length).raw(own).raw(value);
    last = key;
  }
  return writer.fixed32(0).fixed32(1).finish();
}
