export { parseTokenizer, type TextInput, type Tokenizer } from './tokenizer.ts';
