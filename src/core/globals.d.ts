// What core may use beyond the ECMAScript library: names that every supported runtime (browser, worker, Node) has,
// none of them I/O, a clock or randomness.

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
}

declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: ArrayBufferView | ArrayBuffer): string;
}

/** WebCrypto's digest and check of signatures, pure functions of their bytes. */
declare const crypto: {
  readonly subtle: {
    digest(algorithm: 'SHA-256', data: ArrayBufferView<ArrayBuffer> | ArrayBuffer): Promise<ArrayBuffer>;
    importKey(
      format: 'spki',
      key: Uint8Array<ArrayBuffer>,
      algorithm: { readonly name: 'ECDSA'; readonly namedCurve: string },
      isExtractable: boolean,
      usages: 'verify'[],
    ): Promise<CryptoKey>;
    verify(
      algorithm: { readonly name: 'ECDSA'; readonly hash: string },
      key: CryptoKey,
      signature: Uint8Array<ArrayBuffer>,
      data: Uint8Array<ArrayBuffer>,
    ): Promise<boolean>;
  };
};

interface CryptoKey {
  readonly type: string;
}

// Passed through by the worker protocol, never touched by core.
interface Blob {
  readonly size: number;
}
interface ImageBitmap {
  readonly width: number;
}
interface VideoFrame {
  readonly timestamp: number;
}
