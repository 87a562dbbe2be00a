# SPDX-License-Identifier: MIT
# cmake -DOUTPUT=FILE.c -DFILES="A.scm;B.scm" -P embed.cmake
# Writes a table of the files' texts as C.
set(text "#include <stddef.h>\n")
set(table "")
foreach(file IN LISTS FILES)
  file(READ ${file} bytes HEX)
  cmake_path(GET file STEM stem)
  cmake_path(GET file FILENAME name)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND text "static const unsigned char ${stem}[] = {${bytes}};\n")
  string(APPEND table "  {\"${name}\", (const char *)${stem}, sizeof ${stem}},\n")
endforeach()
string(APPEND text
  "extern const struct embedded {\n  const char *name, *text;\n  size_t bytes;\n} embedded_files[];\n"
  "const struct embedded embedded_files[] = {\n${table}  {NULL, NULL, 0}\n};\n")
file(WRITE ${OUTPUT} "${text}")
