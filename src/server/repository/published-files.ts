/** One file of the repository as browsers see it. */
export interface PublishedFile {
  /** Where the bytes are: a file on disk, or bytes made by the server (versions.json of an imported directory). */
  readonly body: { readonly path: string } | { readonly bytes: Uint8Array };
  readonly bytes: number;
  /** Digest of the content, the strong ETag. */
  readonly digest: string;
  /** False for versions.json alone. */
  readonly isImmutable: boolean;
}

/** The model repository for browsers, behind `/models/…`. */
export interface PublishedFiles {
  /**
   * @param path Below `/models/`, percent-decoded, such as `everyday10/1/tfjs/weights.bin`; undefined when there is no such file.
   * @throws {NearfarError} `integrity-mismatch` when the file on disk is not the one that the manifest describes.
   */
  find(path: string): Promise<PublishedFile | undefined>;
}
