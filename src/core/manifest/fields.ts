import * as v from 'valibot';

/** A path inside a version directory: relative, forward slashes, no empty, `.` or `..` segment. */
export const filePathSchema = v.pipe(
  v.string(),
  v.regex(/^(?!\.{1,2}(?:\/|$))[^/\\\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\\\0]+)*$/, 'expected a relative path that stays inside the version'),
);

export const layoutSchema = v.picklist(['NHWC', 'NCHW']);

/** A whole number of at least 1. */
export const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

/** What numbers are divided by. */
export const divisorSchema = v.pipe(v.number(), v.notValue(0));
