/** How long a closing transport still takes what clients were sending when it began to close, in milliseconds. */
export const lastCallMs = 250;
