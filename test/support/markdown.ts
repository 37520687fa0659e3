// The code in a page.

export interface CodeBlock {
  readonly language: string;
  readonly text: string;
  readonly lineNumber: number;
}

/** Fenced blocks, in order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
    lineNumber: markdown.slice(0, match.index).split('\n').length,
  }));
}
