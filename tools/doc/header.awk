# SPDX-License-Identifier: MIT
# Doxygen's input filter for the public headers: awk -f header.awk HEADER
#
# The headers are written for who reads them as they are: plain comments before declarations, and
# behind members.  This turns them into Doxygen's, line for line, so that line numbers stay right:
#
#   the comment of the file, "tarn/NAME.h: ..."   the page of the header
#   a comment right before a declaration          belongs to it, and to those that follow it without
#                                                 a blank line and a comment of their own (not in
#                                                 C++, where a name may have several declarations)
#   a comment behind a member or a declaration    belongs to that
#   a comment before a blank line                 a heading within the file; stays what it is
#   lines indented by two and more in a comment   set as they are, unless they are a list
#   "Errors:", "Cost:", "NULL:"                   paragraphs with that title
#
# tests/docs/test_filter.sh says by example what that comes to.

{ text[NR] = $0 }

# --- words in comments ---------------------------------------------------------------------------

# What Doxygen would take for markup, escaped, but for what stands between backticks; `ticked` goes
# on from line to line of a comment.
function escaped(words,   parts, count, i, result) {
  count = split(words, parts, "`")
  for (i = 1; i <= count; i++) {
    if (i > 1) {
      result = result "`"
      ticked = !ticked
    }
    if (!ticked)
      gsub(/[\\@<>#%&]/, "\\\\&", parts[i])
    result = result parts[i]
  }
  return result
}

# "Errors: " and the like begin a paragraph: the aliases of doc/Doxyfile.in bring the new line.
function labelled(words) {
  words = " " words
  while (match(words, /[ .](Errors|Cost|NULL): /))
    words = label_at(words, RSTART + 1, RLENGTH - 1)
  return substr(words, 2)
}
function label_at(words, at, length_,   name) {
  name = substr(words, at, length_ - 2)
  return substr(words, 1, at - 1) "@tarn" tolower(name) " " substr(words, at + length_)
}

function content(line) { # of a line of a comment, without what makes it one
  sub(/^ *\/\* ?/, "", line)
  sub(/ *\*\/.*$/, "", line)
  sub(/^ *\*( |$)/, "", line)
  return line
}

function is_set(words) { return words ~ /^   *[^ ]/ && words !~ /^ *([0-9]+\.|-) / }

# Lines of a comment from `first` to `last`, as Doxygen shall have them; `tail` goes before the end.
function emit_comment(first, last, opening, tail,   i, words, next_, set, is_list, line, before) {
  ticked = set = is_list = 0
  for (i = first; i <= last; i++) {
    words = content(text[i])
    before = i == first ? opening : ""
    if (words ~ /^ *$/) {
      is_list = 0
      next_ = i < last ? content(text[i + 1]) : ""
      if (set && !is_set(next_)) {
        words = set
        set = 0
      } else if (!set && is_set(next_)) {
        set = set_as(i + 1, last)
        words = "@" set
        set = "@end" set
        sub(/\{.*/, "", set)
      }
    } else {
      is_list = is_list || words ~ /^ *([0-9]+\.|-) /
      if (!set)
        words = labelled(escaped(words))
    }
    if (i == first && file_name) {
      words = "@file " file_name
    } else if (file_name && index(words, file_name ": ") == 1) {
      words = "@brief " toupper(substr(words, length(file_name) + 3, 1)) \
              substr(words, length(file_name) + 4)
    }
    line = before (words == "" || before == "" ? "" : " ") words
    if (i == last)
      line = line (set ? " " set : "") (tail ? " " tail : "") " */" behind(text[i])
    print line
  }
}

function set_as(i, last) { # C, or just text
  for (; i <= last && is_set(content(text[i])); i++)
    if (content(text[i]) ~ /[=(].*;$/)
      return "code{.c}"
  return "verbatim"
}

function behind(line) { # what follows the end of the comment
  return substr(line, index(line, "*/") + 2)
}

# --- declarations --------------------------------------------------------------------------------

function name_of(words,   name) {
  gsub(/TARN_API|__attribute__ *\(\([^()]*(\([^()]*\))*[^()]*\)\)/, "", words)
  if (words ~ /^ *#/) {
    sub(/^ *# *define +/, "", words)
    sub(/[^A-Za-z0-9_].*/, "", words)
    return words
  }
  if (words ~ /(struct|enum|union|class) +[A-Za-z0-9_]+ *\{/) {
    sub(/ *\{.*/, "", words)
    sub(/.* /, "", words)
    return words
  }
  if (match(words, /\(\*[A-Za-z0-9_]+\)/))
    return substr(words, RSTART + 2, RLENGTH - 3)
  if (words ~ /\(/ && words !~ /^ *typedef/)
    sub(/ *\(.*/, "", words)
  sub(/ *[;,={[].*/, "", words)
  sub(/.*[ *]/, "", words)
  return words
}

# What the inlined paths need and programs do not.
function is_internal(name) {
  return name ~ /^tarn_inline_|^TARN_INLINE_|_slow$|^TARN_PASTE|^TARN_(BEGIN|END)_DECLS$/ ||
         name ~ /^tarn_(bin_head|pool_own|type_head|thread|frame_scope|frame_leave|free_attend)$/ ||
         name ~ /^TARN_(UN)?LIKELY$/
}

function end_of_comment(i) {
  while (i < NR && text[i] !~ /\*\//)
    i++
  return i
}

function code_of(line) { # without comments that begin and end on it, or that begin on it
  gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
  sub(/\/\*.*/, "", line)
  sub(/\/\/.*/, "", line)
  gsub(/"[^"]*"/, "\"\"", line)
  return line
}

function count_of(line, what) { return gsub(what, "", line) }

function transparent(line) { # of the preprocessor, but no macro
  return line ~ /^ *# *(if|ifdef|ifndef|else|elif|endif|error|include|undef)/
}

# The declaration that begins at line i; gives its last line, and sets `declared` and `opens`: it
# ends with the brace of a structure or an enumeration.
function end_of_declaration(i, in_enum,   code, depth) {
  opens = 0
  declared = ""
  if (text[i] ~ /^ *#/) {
    declared = text[i]
    while (text[i] ~ /\\$/)
      i++
    return i
  }
  depth = 0
  for (; i <= NR; i++) {
    code = code_of(text[i])
    declared = declared " " code
    if (depth == 0 && code ~ /\{/ && declared ~ AGGREGATE && code !~ /\}/) {
      opens = 1
      return i
    }
    depth += count_of(code, "[{]") - count_of(code, "[}]")
    if (depth > 0)
      continue
    if (code ~ /[;}] *$/ || (in_enum && (code ~ /, *$/ || text[i + 1] ~ /^ *\}/)))
      return i
  }
  return NR
}

# Has the declaration a comment behind it?  On its last line, but in enumerations and macros.
function has_trailing(last) {
  return (text[last] ~ /^ *# *define / || text[last] !~ /^ *#/) && text[last] ~ /[^ ] *\/\*/
}

function emit_trailing(last,   end, i, words) {
  end = end_of_comment(last)
  i = index(text[last], "/*")
  ticked = 0
  if (end == last) {
    print substr(text[last], 1, i - 1) "/**< " escaped(content(substr(text[last], i))) " */"
    return end
  }
  print substr(text[last], 1, i - 1) "/**< " escaped(content(substr(text[last], i)))
  for (i = last + 1; i <= end; i++) {
    words = content(text[i])
    sub(/^ */, "", words) # four spaces would set it as it is
    print escaped(words) (i == end ? " */" : "")
  }
  return end
}

# A declaration from line i on.  `owner` has the words: it was documented, and no blank line since.
function emit_declaration(i, is_documented,   last, k, name, prefix, trails, in_enum) {
  in_enum = depth > 0 && kind[depth] == "enum"
  last = end_of_declaration(i, in_enum)
  name = name_of(declared)
  trails = has_trailing(last) && (opens || declared !~ /\{/)
  prefix = ""
  if (is_documented)
    owner = scope() name
  else if (owner && FILENAME !~ /\.hpp$/ && !trails && name && !opens && scope() name != owner)
    prefix = "/** @copydoc " owner " */ "
  print_first(i, last, prefix, trails)
  if (trails)
    last = emit_trailing(last)
  if (opens) {
    depth++
    kind[depth] = declared ~ /(^|[^A-Za-z0-9_])enum[^A-Za-z0-9_]/ ? "enum" : "struct"
    names[depth] = kind[depth] == "struct" && declared !~ /namespace|extern/ ? name : ""
    outer[depth] = owner
    owner = ""
  }
  return last
}

function print_first(i, last, prefix, trails,   k) {
  for (k = i; k <= last - trails; k++)
    print (k == i ? prefix : "") text[k]
  if (trails && i == last && prefix)
    printf "%s", prefix
}

function scope(   i, result) {
  for (i = 1; i <= depth; i++)
    if (names[i] != "")
      result = result names[i] "::"
  return result
}

# --- the file ------------------------------------------------------------------------------------

# A comment that begins at line i, alone on its lines.
function emit_block(i,   last, next_, tail, second) {
  last = end_of_comment(i)
  next_ = last + 1
  second = text[i + 1]
  file_name = ""
  if (last > i && !had_file && second ~ /^ \* (tarn\/)?[a-z_]+\.(h|hpp):/) {
    sub(/^ \* /, "", second)
    sub(/: .*/, "", second)
    file_name = second
    had_file = 1
    emit_comment(i, last, "/**", "")
    file_name = ""
    return last
  }
  while (next_ <= NR && transparent(text[next_]))
    next_++
  if (text[next_] ~ /^ *$/ || text[next_] ~ /^ *\/[*\/]/ || text[next_] ~ /^ *\}/ ||
      text[i] ~ /SPDX/ || behind(text[last]) !~ /^ *$/) {
    for (; i <= last; i++)
      print text[i]
    return last
  }
  end_of_declaration(next_, depth > 0 && kind[depth] == "enum")
  tail = is_internal(name_of(declared)) ? "@tarninternal" : ""
  emit_comment(i, last, indent_of(text[i]) "/**", tail)
  while (++last < next_)
    print text[last]
  return emit_declaration(next_, 1)
}

function indent_of(line) {
  match(line, /^ */)
  return substr(line, 1, RLENGTH)
}

END {
  AGGREGATE = "(^|[^A-Za-z0-9_])(struct|enum|union|class|namespace|extern)" \
              "([^A-Za-z0-9_(]([^()]|\\(\\))*)?[{]"
  depth = 0
  for (i = 1; i <= NR; i++) {
    if (text[i] ~ /^ *$/) {
      owner = ""
      print text[i]
    } else if (text[i] ~ /^ *\/\*/) {
      owner = ""
      i = emit_block(i)
    } else if (depth > 0 && text[i] ~ /^ *\}/) {
      owner = outer[depth]
      print text[i]
      depth--
    } else if (transparent(text[i]) || text[i] ~ /^ *(\/\/|TARN_(BEGIN|END)_DECLS$)/) {
      print text[i]
    } else {
      i = emit_declaration(i, 0)
    }
  }
}
