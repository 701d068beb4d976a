/**
 * Decimal text of a float as TensorFlow Serving writes it: six significant digits in the form of C's `%g` where they
 * read back as the same value, else all that the type may need (9 for float32, 17 for float64); whole numbers end in
 * `.0` unless they have an exponent; `NaN`, `Infinity` and `-Infinity` are bare words, which JSON.parse refuses.
 * @param value For float32 a value that a float32 holds exactly.
 */
export function formatDecimal(value: number, dtype: 'float32' | 'float64'): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return Object.is(value, -0) ? '-0.0' : `${value}.0`;
  // The shortest text that reads back as the same value is that of six digits where it has no more; `%g` has exponents for what is smaller.
  const shortest = String(value);
  if (shortest.length <= 7 && Math.abs(value) >= 1e-4 && shortest.includes('.')) return shortest;
  // A text that reads back exactly was no tie, so how ties round does not matter here.
  const short = value.toExponential(5);
  const isExact = (dtype === 'float32' ? Math.fround(Number(short)) : Number(short)) === value;
  const digits = isExact ? 6 : dtype === 'float32' ? 9 : 17;
  const text = generalForm(isExact ? short : roundedToEven(value, digits), digits);
  return text.includes('.') || text.includes('e') ? text : `${text}.0`;
}

/** C's `%.<precision>g` from `%.<precision - 1>e`. */
function generalForm(scientific: string, precision: number): string {
  const separator = scientific.indexOf('e');
  const exponent = Number(scientific.slice(separator + 1));
  if (exponent < -4 || exponent >= precision) {
    const size = Math.abs(exponent).toString().padStart(2, '0');
    return `${withoutTrailingZeros(scientific.slice(0, separator))}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  return withoutTrailingZeros(placePoint(scientific.slice(0, separator), exponent));
}

/** toExponential() rounds an exact tie away from zero, C rounds it to the even digit. */
function roundedToEven(value: number, precision: number): string {
  const rounded = value.toExponential(precision - 1);
  const oneMore = value.toExponential(precision);
  const separator = oneMore.indexOf('e');
  if (oneMore[separator - 1] !== '5' || Number(oneMore) !== value || !isTie(value, precision)) return rounded;
  const cut = `${oneMore.slice(0, separator - 1)}${oneMore.slice(separator)}`;
  return Number(oneMore[separator - 2]) % 2 === 0 ? cut : rounded;
}

/** Whether nothing but zeros follows the digit behind the last kept one; 100 digits show it for all but subnormals. */
function isTie(value: number, precision: number): boolean {
  const exact = value.toExponential(100).replace('-', '').replace('.', '');
  return /^50*$/.test(exact.slice(precision, exact.indexOf('e')));
}

function placePoint(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace('-', '').replace('.', '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

function withoutTrailingZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0*$/, '') : text;
}
