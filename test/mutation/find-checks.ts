// Finds what stands between a peer's bytes and an effect: every condition that leads to a refusal,
// each part of it, each comparison at its limit, and every close of descriptors. A mutation takes
// one of them away, by text put before and after it.
import ts from 'typescript';

export interface Mutation {
  /** In the order of the source; `off` is asked with it. */
  readonly number: number;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The function around it. */
  readonly within: string;
  readonly kind: 'check' | 'part' | 'limit' | 'refusal' | 'close';
  /** What is taken away, as the source spells it. */
  readonly text: string;
}

export interface Instrumented {
  readonly mutations: readonly Mutation[];
  /** JavaScript in which each mutation is live while `globalThis.mutationOff(number)` is true. */
  readonly code: string;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly before: string;
  readonly after: string;
}

/** At its limit, a comparison means the other thing with its neighbour. */
const neighbours = new Map<ts.SyntaxKind, string>([
  [ts.SyntaxKind.GreaterThanToken, '>='],
  [ts.SyntaxKind.GreaterThanEqualsToken, '>'],
  [ts.SyntaxKind.LessThanToken, '<='],
  [ts.SyntaxKind.LessThanEqualsToken, '<'],
]);

function calledName(node: ts.Node): string {
  if (!ts.isCallExpression(node)) return '';
  const { expression } = node;
  if (ts.isIdentifier(expression)) return expression.text;
  return ts.isPropertyAccessExpression(expression) ? expression.name.text : '';
}

/** Our own guarantees are no checks of a peer. */
function isOwnBug(text: string): boolean {
  return /AssertionFailure|unreachable\(|throw error\b/.test(text);
}

function isRefusalCall(node: ts.Node): boolean {
  const name = calledName(node);
  if (name === 'reject') return /new (Lessor|Protocol|Os)Error|\breason\b/.test(node.getText());
  return /^#?(refuse|check)[A-Z]?/.test(name);
}

/** A statement that refuses: throws, answers with an error, rejects. */
function refuses(node: ts.Statement): boolean {
  if (ts.isThrowStatement(node)) return !isOwnBug(node.getText());
  if (ts.isExpressionStatement(node)) return isRefusalCall(node.expression);
  if (!ts.isReturnStatement(node) || node.expression === undefined) return false;
  return isRefusalCall(node.expression);
}

function statementsOf(node: ts.Statement): readonly ts.Statement[] {
  return ts.isBlock(node) ? node.statements : [node];
}

/** `if (fine) return; throw …`: the condition decides of a refusal behind it. */
function leadsPastRefusal(node: ts.IfStatement): boolean {
  const jumps = statementsOf(node.thenStatement).some(
    (each) => ts.isReturnStatement(each) || ts.isContinueStatement(each),
  );
  const siblings = ts.isBlock(node.parent) ? node.parent.statements : [];
  const last = siblings[siblings.length - 1];
  return jumps && last !== undefined && last !== node && refuses(last);
}

function isClose(node: ts.Node): boolean {
  return (
    ts.isExpressionStatement(node) &&
    /^(closeAll|close|closeRest)$/.test(calledName(node.expression))
  );
}

function isNamedFunction(
  node: ts.Node,
): node is ts.FunctionDeclaration | ts.MethodDeclaration | ts.VariableDeclaration {
  if (ts.isVariableDeclaration(node)) {
    return node.initializer !== undefined && ts.isFunctionLike(node.initializer);
  }
  return ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node);
}

/** The function around a node. */
function nameOf(node: ts.Node): string {
  for (let at: ts.Node | undefined = node.parent; at !== undefined; at = at.parent) {
    if (isNamedFunction(at)) return at.name?.getText() ?? 'function';
    if (ts.isConstructorDeclaration(at)) return 'constructor';
  }
  return 'module';
}

class Finder {
  readonly mutations: Mutation[] = [];
  readonly edits: Edit[] = [];
  readonly #tree: ts.SourceFile;
  readonly #first: number;
  /** Comparisons that a mutation has already. */
  readonly #compared = new Set<ts.Node>();

  constructor(tree: ts.SourceFile, first: number) {
    this.#tree = tree;
    this.#first = first;
    this.#visit(tree);
  }

  #add(
    kind: Mutation['kind'],
    node: ts.Node,
    wrap: (off: string) => readonly [string, string],
  ): void {
    const number = this.#first + this.mutations.length;
    const start = node.getStart();
    const line = this.#tree.getLineAndCharacterOfPosition(start).line + 1;
    const text = node.getText().replace(/\s+/g, ' ');
    const [before, after] = wrap(`globalThis.mutationOff(${number})`);
    this.mutations.push({
      number,
      file: this.#tree.fileName,
      line,
      within: nameOf(node),
      kind,
      text,
    });
    this.edits.push({ start, end: node.getEnd(), before, after });
  }

  #visit(node: ts.Node): void {
    if (ts.isIfStatement(node)) this.#visitIf(node);
    else if (ts.isConditionalExpression(node)) this.#visitConditional(node);
    else if (isClose(node)) this.#add('close', node, (off) => [`{ if (!${off}) `, ' }']);
    else if (ts.isStatement(node) && refuses(node) && !this.#isGoverned(node)) {
      this.#add('refusal', node, (off) => [`{ if (!${off}) `, ' }']);
    }
    // A limit counts wherever it is compared with: a full queue stops reading, and refuses nobody.
    if (ts.isBinaryExpression(node) && /\blimits\.\w+$/.test(node.right.getText()))
      this.#parts(node);
    ts.forEachChild(node, (child) => this.#visit(child));
  }

  /** Its condition is mutated instead. */
  #isGoverned(node: ts.Statement): boolean {
    const holder = ts.isBlock(node.parent) ? node.parent.parent : node.parent;
    const inner = ts.isBlock(node.parent) ? node.parent : node;
    return ts.isIfStatement(holder) && holder.thenStatement === inner;
  }

  #visitIf(node: ts.IfStatement): void {
    const condition = node.expression;
    if (statementsOf(node.thenStatement).some(refuses)) {
      this.#add('check', condition, (off) => [`!${off} && (`, ')']);
      this.#parts(condition);
    } else if (leadsPastRefusal(node)) {
      this.#parts(condition);
    }
  }

  #visitConditional(node: ts.ConditionalExpression): void {
    const refusal = [node.whenTrue, node.whenFalse].find(isRefusalCall);
    if (refusal === undefined) return;
    this.#add('refusal', refusal, (off) => [`(${off} ? undefined : `, ')']);
    this.#parts(node.condition);
  }

  /** Operands of || and &&, and comparisons, as deep as they go. */
  #parts(node: ts.Expression): void {
    if (ts.isParenthesizedExpression(node)) this.#parts(node.expression);
    else if (ts.isPrefixUnaryExpression(node)) this.#parts(node.operand);
    if (!ts.isBinaryExpression(node)) return;
    const operator = node.operatorToken.kind;
    const isOr = operator === ts.SyntaxKind.BarBarToken;
    if (isOr || operator === ts.SyntaxKind.AmpersandAmpersandToken) {
      for (const operand of [node.left, node.right]) {
        const isNested = ts.isBinaryExpression(operand) && operand.operatorToken.kind === operator;
        if (!isNested)
          this.#add('part', operand, (off) =>
            isOr ? [`(!${off} && (`, '))'] : [`(${off} || (`, '))'],
          );
        this.#parts(operand);
      }
    }
    const neighbour = neighbours.get(operator);
    if (neighbour === undefined || this.#compared.has(node)) return;
    this.#compared.add(node);
    const other = `${node.left.getText()} ${neighbour} ${node.right.getText()}`;
    this.#add('limit', node, (off) => [`(${off} ? ${other} : `, ')']);
  }
}

/** Text with every edit made; of two at one place, the outer one stands outside. */
function edited(text: string, edits: readonly Edit[]): string {
  const at = (position: number): string => {
    const ends = edits.filter(({ end }) => end === position).sort((a, b) => b.start - a.start);
    const starts = edits.filter(({ start }) => start === position).sort((a, b) => b.end - a.end);
    return [...ends.map(({ after }) => after), ...starts.map(({ before }) => before)].join('');
  };
  const places = [...new Set(edits.flatMap(({ start, end }) => [start, end]))].sort(
    (a, b) => a - b,
  );
  let result = '';
  let done = 0;
  for (const place of places) {
    result += text.slice(done, place) + at(place);
    done = place;
  }
  return result + text.slice(done);
}

/**
 * @param file - As the listing names it.
 * @param first - Number of the first mutation.
 */
export function instrument(file: string, text: string, first: number): Instrumented {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const { mutations, edits } = new Finder(tree, first);
  const { outputText } = ts.transpileModule(edited(text, edits), {
    fileName: file,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  });
  return { mutations, code: outputText };
}
