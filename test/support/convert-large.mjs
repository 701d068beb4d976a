// Converts a frozen graph of made-up weights, which are in no memory and on no disk, in a process of its own; prints what that took.
// node test/support/convert-large.mjs <megabytes> <out> <formats> <precision>
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { convert } from '../../dist/publish/index.js';

const SIDE = 2048;
const TENSOR_BYTES = SIDE * SIDE * 4;
const DT_FLOAT = 1;

const [megabytes = '384', out = '', formats = 'tfjs', precision = 'float32'] = process.argv.slice(2);
const layers = Math.ceil((Number(megabytes) * 1e6) / TENSOR_BYTES);
const file = frozenGraph(layers);
const started = performance.now();
const report = await convert(new Map([['model.pb', file]]), {
  out,
  formats: /** @type {('tfjs' | 'onnx')[]} */ (formats.split(',')),
  precision: /** @type {'float32' | 'float16' | 'uint8'} */ (precision),
});
const seconds = (performance.now() - started) / 1000;
const written = report.formats.map(({ format, bytes }) => ({ format, bytes }));
console.log(JSON.stringify({ sourceBytes: file.byteLength, written, seconds, peakRssBytes: process.resourceUsage().maxRSS * 1024 }));

/**
 * A chain of matrix products, as a GraphDef.
 * @param {number} layers
 */
function frozenGraph(layers) {
  /** @type {{ start: number, end: number, read: (from: number, to: number) => Uint8Array<ArrayBuffer> }[]} */
  const segments = [];
  let position = 0;
  /** @param {number} length @param {(from: number, to: number) => Uint8Array<ArrayBuffer>} read */
  const add = (length, read) => {
    segments.push({ start: position, end: position + length, read });
    position += length;
  };
  /** @param {Uint8Array} bytes */
  const addBytes = (bytes) => add(bytes.length, (from, to) => Uint8Array.from(bytes.subarray(from, to)));
  addBytes(field(1, node('x', 'Placeholder', [], { dtype: type(), shape: field(7, dimensions([-1, SIDE])) })));
  for (let layer = 0; layer < layers; layer++) {
    const head = new BinaryWriter()
      .tag(1, WireType.Varint)
      .int32(DT_FLOAT)
      .raw(field(2, dimensions([SIDE, SIDE])))
      .finish();
    const contentHead = new BinaryWriter().tag(4, WireType.LengthDelimited).uint32(TENSOR_BYTES).finish();
    const tensorLength = head.length + contentHead.length + TENSOR_BYTES;
    const tensorHead = new BinaryWriter().tag(8, WireType.LengthDelimited).uint32(tensorLength).finish();
    const valueHead = new BinaryWriter()
      .tag(2, WireType.LengthDelimited)
      .uint32(tensorHead.length + tensorLength)
      .finish();
    const entryLength = field(1, text('value')).length + valueHead.length + tensorHead.length + tensorLength;
    const entryHead = new BinaryWriter().tag(5, WireType.LengthDelimited).uint32(entryLength).finish();
    const rest = node(`w${layer}`, 'Const', [], { dtype: type() });
    const nodeHead = new BinaryWriter()
      .tag(1, WireType.LengthDelimited)
      .uint32(rest.length + entryHead.length + entryLength)
      .finish();
    for (const bytes of [nodeHead, rest, entryHead, field(1, text('value')), valueHead, tensorHead, head, contentHead]) addBytes(bytes);
    add(TENSOR_BYTES, (from, to) => madeUp(layer, from, to));
    const before = layer === 0 ? 'x' : `y${layer - 1}`;
    addBytes(field(1, node(`y${layer}`, 'MatMul', [before, `w${layer}`], { T: type() })));
  }
  const byteLength = position;
  return {
    byteLength,
    /** @param {number} start @param {number} end */
    read: async (start, end) => {
      const bytes = new Uint8Array(end - start);
      for (const segment of segments) {
        const [from, to] = [Math.max(start, segment.start), Math.min(end, segment.end)];
        if (from < to) bytes.set(segment.read(from - segment.start, to - segment.start), from - start);
      }
      return bytes;
    },
  };
}

/**
 * Weights that no two layers share: numbers from -1 to 1.
 * @param {number} layer @param {number} from @param {number} to bytes of the tensor
 */
function madeUp(layer, from, to) {
  const period = 4096;
  const values = Float32Array.from({ length: period }, (_, index) => Math.fround(((index * 37 + layer * 101) % 997) / 498.5 - 1));
  const block = new Uint8Array(values.buffer);
  const bytes = new Uint8Array(to - from);
  for (let done = 0; done < bytes.length; ) {
    const at = (from + done) % block.length;
    const part = block.subarray(at, Math.min(block.length, at + bytes.length - done));
    bytes.set(part, done);
    done += part.length;
  }
  return bytes;
}

/** @param {string} name @param {string} op @param {string[]} inputs @param {Record<string, Uint8Array>} attributes */
function node(name, op, inputs, attributes) {
  const writer = new BinaryWriter().raw(field(1, text(name))).raw(field(2, text(op)));
  for (const input of inputs) writer.raw(field(3, text(input)));
  for (const [key, value] of Object.entries(attributes)) {
    writer.raw(
      field(
        5,
        new BinaryWriter()
          .raw(field(1, text(key)))
          .raw(field(2, value))
          .finish(),
      ),
    );
  }
  return writer.finish();
}

function type() {
  return new BinaryWriter().tag(6, WireType.Varint).int32(DT_FLOAT).finish();
}

/** @param {number[]} sizes */
function dimensions(sizes) {
  const writer = new BinaryWriter();
  for (const size of sizes) writer.raw(field(2, new BinaryWriter().tag(1, WireType.Varint).int64(size).finish()));
  return writer.finish();
}

/** @param {number} number @param {Uint8Array} content */
function field(number, content) {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(content).finish();
}

/** @param {string} value */
function text(value) {
  return new TextEncoder().encode(value);
}
