import { expect, test } from 'vitest';
import { parseLabels } from '../../../src/core/index.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

test.each([
  ['with a last newline', 'cat\ndog\n', ['cat', 'dog']],
  ['without a last newline', 'cat\ndog', ['cat', 'dog']],
  ['with CRLF', 'cat\r\ndog\r\n', ['cat', 'dog']],
  ['with a byte order mark', '\ufeffcat\n', ['cat']],
  ['with names beyond ASCII and inner spaces', 'crème brûlée\n野生 の\n', ['crème brûlée', '野生 の']],
  ['with an empty line, which keeps its place', 'cat\n\ndog\n', ['cat', '', 'dog']],
  ['of no bytes', '', []],
])('reads labels %s', (_, text, labels) => {
  expect(parseLabels(bytes(text))).toEqual(labels);
});

test('refuses bytes that are not UTF-8', () => {
  expect(() => parseLabels(Uint8Array.of(0x63, 0xe9, 0x0a))).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});
