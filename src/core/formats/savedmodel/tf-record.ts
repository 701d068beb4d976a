import { NearfarError } from '../../errors.ts';
import { maskedCrc32c } from './crc32c.ts';
import { damaged } from './damaged.ts';

/** Where a SavedModel keeps recorded requests, a TFRecord file of PredictionLogs. */
export const warmupPath = 'assets.extra/tf_serving_warmup_requests';

/**
 * The records of a TFRecord file as views into it: length, checksum of the length,
 * content, checksum of the content (tensorflow/core/lib/io/record_writer.h).
 * @throws {NearfarError} `integrity-mismatch` when a checksum is wrong, `invalid-argument` when a record is cut off.
 */
export function readTfRecords(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  for (let position = 0; position < bytes.length; ) {
    if (position + 12 > bytes.length) throw damaged(`record ${records.length} is cut off`);
    check(bytes.subarray(position, position + 8), view.getUint32(position + 8, true), records.length);
    const length = Number(view.getBigUint64(position, true));
    const end = position + 12 + length;
    if (!(end + 4 <= bytes.length)) throw damaged(`record ${records.length} is cut off`);
    const content = bytes.subarray(position + 12, end);
    check(content, view.getUint32(end, true), records.length);
    records.push(content);
    position = end + 4;
  }
  return records;
}

function check(bytes: Uint8Array, checksum: number, record: number): void {
  if (maskedCrc32c(bytes) === checksum) return;
  throw new NearfarError('integrity-mismatch', `record ${record} is damaged: a checksum is wrong`, { details: { record } });
}

/** One record in the form that {@link readTfRecords} reads; a file is any number of them. */
export function encodeTfRecord(content: Uint8Array): Uint8Array {
  const record = new Uint8Array(content.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(content.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(content, 12);
  view.setUint32(12 + content.length, maskedCrc32c(content), true);
  return record;
}
