"""2D teachers: what foundation models say about one posed image, each optional.

A part takes an RGB image (H, W, 3) uint8 and answers with arrays:

* ``MaskTeacher.regions(image)``: masks (N, H, W) bool, which may overlap, with captions where the
  teacher names what it finds;
* ``CaptionTeacher.captions(image, masks)``: a few words for each mask;
* ``EmbeddingTeacher.embeddings(image, masks)``: a unit vector (F,) for each mask;
* ``Tagger.tags(image)``: nouns, which a mask teacher then looks for.

``RegionTeacher`` makes a ``Teacher`` of them: a posed image in, ``PseudoLabels`` out, which are
the paper's ``semantics`` and ``index2semantics`` (LIFT-GS, 3.3 and A.1). ``load_teacher`` builds
one from names like ``sam2:path/of/weights``. Nothing here downloads anything.
"""

from training.data.pseudo_labels import PseudoLabels
from training.teachers.labels import Regions, Teacher
from training.teachers.load import TeacherSpec, load_teacher

__all__ = ['PseudoLabels', 'Regions', 'Teacher', 'TeacherSpec', 'load_teacher']
