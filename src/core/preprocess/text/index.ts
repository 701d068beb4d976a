export type { Encoding } from './post-processor.ts';
export { parseTokenizer, type TextInput, type Tokenizer } from './tokenizer.ts';
