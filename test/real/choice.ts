// Which cases are meant by words on a command line.

/** All of them without words; else those whose name has one of the words in it. */
export function isChosen(words: readonly string[]): (name: string) => boolean {
  return (name) => words.length === 0 || words.some((word) => name.includes(word));
}
