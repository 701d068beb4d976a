import fc from 'fast-check';

/** One small change of bytes. */
type Mutation = (bytes: Uint8Array) => Uint8Array;

const utf8 = (text: string) => new TextEncoder().encode(text);

/** What parsers stumble over, in JSON, text format and protobuf. */
const nasty: readonly Uint8Array[] = [
  ...[
    '[',
    ']',
    '{',
    '}',
    '"',
    '\\',
    '\\ud800',
    ',',
    ':',
    '-',
    '1e999',
    '-0',
    'NaN',
    '-Infinity',
    'null',
    '{"b64":"',
    '\u0000',
    '\ufeff',
  ].map(utf8),
  ...['99999999999999999999', '9223372036854775808', '-9223372036854775809', '0.1e-400', '"__proto__":', '"shape":[-1]'].map(utf8),
  ...['[4294967296,4294967296]', '[9007199254740993]', '"datatype":"BYTES"', '"binary_data_size":-1', '[['.repeat(200)].map(utf8),
  // Varints, among them the longest and one that does not end; a group; a message that says it is longer than anything.
  Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
  new Uint8Array(12).fill(0x80),
  Uint8Array.of(0x0b),
  Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07),
  Uint8Array.of(0xff, 0xff, 0xff, 0x7f),
];

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const from = at % (bytes.length + 1);
  return new Uint8Array([...bytes.subarray(0, from), ...insert, ...bytes.subarray(from + remove)]);
}

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(7)).map(
    ([at, bit]): Mutation =>
      (bytes) => {
        const changed = bytes.slice();
        if (changed.length > 0) changed[at % changed.length]! ^= 1 << bit;
        return changed;
      },
  ),
  fc.nat().map(
    (at): Mutation =>
      (bytes) =>
        bytes.slice(0, at % (bytes.length + 1)),
  ),
  fc.tuple(fc.nat(), fc.nat(16)).map(
    ([at, length]): Mutation =>
      (bytes) =>
        splice(bytes, at, length, new Uint8Array()),
  ),
  fc.tuple(fc.nat(), fc.nat(8), fc.constantFrom(...nasty)).map(
    ([at, remove, insert]): Mutation =>
      (bytes) =>
        splice(bytes, at, remove, insert),
  ),
  fc.tuple(fc.nat(), fc.nat(), fc.nat(64)).map(
    ([at, from, length]): Mutation =>
      (bytes) => {
        const start = from % (bytes.length + 1);
        return splice(bytes, at, 0, bytes.slice(start, start + length));
      },
  ),
);

/** A few changes of bytes, one after the other. */
export const mutations: fc.Arbitrary<Mutation> = fc
  .array(mutation, { minLength: 1, maxLength: 4 })
  .map((each) => (bytes: Uint8Array) => each.reduce((changed, mutate) => mutate(changed), bytes));
