import { maskedCrc32c } from '../../src/core/formats/savedmodel/crc32c.ts';

/** A TFRecord file. */
export function encodeTfRecords(records: readonly Uint8Array[]): Uint8Array {
  const parts = records.flatMap((record) => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(record.length), true);
    return [length, checksum(length), record, checksum(record)];
  });
  return new Uint8Array(Buffer.concat(parts));
}

function checksum(bytes: Uint8Array): Uint8Array {
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, maskedCrc32c(bytes), true);
  return checksum;
}
