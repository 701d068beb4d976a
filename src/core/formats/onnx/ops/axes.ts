/** The end of any axis; ONNX cuts it to the size. */
export const END: number = 2 ** 31 - 1;

/** Where the axes of an image are once its channels are second. */
export const inNchw: readonly number[] = [0, 2, 3, 1];
