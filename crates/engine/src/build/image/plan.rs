use hob_image::ImageRef;
use hob_model::port::{BuildError, Source};

use super::{
    super::{
        builder::Shared,
        detect::read_manifest,
        detect::{Found, Shape},
        template::ImageRecipe,
        unpack::unpack,
        workplace::Workplace,
    },
    dockerfile,
};

/// The name of the base that is none.
const NO_BASE: &str = "library/scratch";

/// What a folder turned out to be.
pub(super) enum Plan {
    /// A function that hob builds.
    Function {
        base: Option<ImageRef>,
        recipe: Box<ImageRecipe>,
    },
    /// Somebody else's business, unpacked here.
    Dockerfile(Box<Workplace>),
}

// === impl Plan ===

impl Plan {
    /// Lets in a folder of which only the Dockerfile counts.
    pub(super) fn dockerfile(shared: &Shared, source: &Source) -> Result<Self, BuildError> {
        let place = shared.workplace()?;
        let folder = place.function();
        unpack(source, &folder)?;
        if !folder.join(dockerfile::FILE).is_file() {
            let text = "there is no Dockerfile in `context`: a template brings it";
            return Err(BuildError::Refused(text.into()));
        }
        Ok(Self::Dockerfile(Box::new(place)))
    }

    /// Lets the folder in and sees what it is.
    pub(super) fn look(
        shared: &Shared,
        source: &Source,
        base: Option<ImageRef>,
    ) -> Result<Self, BuildError> {
        let place = shared.workplace()?;
        let folder = place.function();
        unpack(source, &folder)?;
        let manifest = read_manifest(&folder)?;
        let has_file = folder.join(dockerfile::FILE).is_file();
        let asks = manifest.language.as_deref() == Some(dockerfile::LANGUAGE);
        let found = match (asks, Found::look(&folder, &manifest)) {
            (false, Ok(found)) if !has_file || found.shape == Shape::Handler => found,
            (false, Err(error)) if !has_file => return Err(error),
            (true, _) if !has_file => {
                let text = "hob.toml: language `dockerfile`, and there is no Dockerfile";
                return Err(BuildError::Refused(text.into()));
            }
            _ if base.is_some() || manifest.image.base.is_some() => {
                let text = "a Dockerfile says itself what it stands on: leave the base out";
                return Err(BuildError::Refused(text.into()));
            }
            _ => return Ok(Self::Dockerfile(Box::new(place))),
        };
        if found.shape == Shape::Static {
            let text = "a folder of files has no program that could serve it elsewhere: deploy it, or write a Dockerfile with a web server";
            return Err(BuildError::Refused(text.into()));
        }
        let template = found.template.as_ref();
        let recipe = template.map(|template| template.recipe.image.clone());
        let recipe = Box::new(recipe.unwrap_or_default());
        let named = match manifest.image.base.as_ref().or(recipe.base.as_ref()) {
            _ if base.is_some() => base,
            Some(text) => Some(
                text.parse()
                    .map_err(|error| BuildError::Refused(format!("base of the image: {error}")))?,
            ),
            None => None,
        };
        Ok(Self::Function {
            base: named.filter(|base| base.repository() != NO_BASE),
            recipe,
        })
    }
}
