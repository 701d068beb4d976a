/**
 * Writes JSON in the layout of TensorFlow Serving's answers (RapidJSON's PrettyWriter: four spaces, one element a line;
 * with `isSingleLine` the elements of arrays share a line).
 */
export class JsonWriter {
  isSingleLine = false;
  readonly #parts: string[] = [];
  /** Open containers: values written so far (names count) and whether it is an array. */
  readonly #levels: { values: number; readonly isArray: boolean }[] = [];

  startObject(): void {
    this.#open('{', false);
  }

  endObject(): void {
    this.#close('}', false);
  }

  startArray(): void {
    this.#open('[', true);
  }

  endArray(): void {
    this.#close(']', this.isSingleLine);
  }

  /** The name of a member, or a string value. */
  string(text: string): void {
    this.raw(JSON.stringify(text));
  }

  /** A value already written as JSON. */
  raw(text: string): void {
    this.#separate();
    this.#parts.push(text);
  }

  text(): string {
    return this.#parts.join('');
  }

  #open(bracket: string, isArray: boolean): void {
    this.raw(bracket);
    this.#levels.push({ values: 0, isArray });
  }

  #close(bracket: string, isOnLine: boolean): void {
    const level = this.#levels.pop();
    if (level && level.values > 0 && !isOnLine) this.#newLine();
    this.#parts.push(bracket);
  }

  #separate(): void {
    const level = this.#levels.at(-1);
    if (!level) return;
    const isFirst = level.values === 0;
    const isMember = !level.isArray && level.values % 2 === 1;
    level.values++;
    if (isMember) {
      this.#parts.push(': ');
    } else if (level.isArray && this.isSingleLine) {
      if (!isFirst) this.#parts.push(', ');
    } else {
      if (!isFirst) this.#parts.push(',');
      this.#newLine();
    }
  }

  #newLine(): void {
    this.#parts.push('\n', '    '.repeat(this.#levels.length));
  }
}
